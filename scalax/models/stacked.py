"""Creates identical layers as one module with stacked parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flax import nnx

Layer = TypeVar("Layer")


def stacked_layers(layers: int, rngs: nnx.Rngs, make: Callable[[nnx.Rngs], Layer]) -> Layer:
    """Returns a module whose parameters have a leading axis ``layers``, for `Compute.layers`.

    Args:
        layers: Number of layers.
        rngs: Random keys, split among the layers.
        make: Creates one layer.
    """
    stack = nnx.vmap(make, transform_metadata={nnx.PARTITION_NAME: "layers"})
    return nnx.split_rngs(splits=layers)(stack)(rngs)
