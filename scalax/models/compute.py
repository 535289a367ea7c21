"""Settings and helpers of computation: precision, recomputation, sharding and platform.

They change results only by rounding. Importing this file does not import jax.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Recompute = Literal["none", "dots", "full"]
UNROLLED = 8
"""Maximum number of layers to unroll, which runs faster; more layers are scanned, so that compile
time does not grow with depth. Recomputed layers are always scanned: a TPU's compiler recomputes all
unrolled layers before it needs the first one, which saves no memory."""


@dataclass(frozen=True)
class Compute:
    """How a module computes: the argument of `ModelFamily.build`.

    Attributes:
        dtype: The jax dtype of activations and matrix products; parameters stay float32.
        recompute: What the backward pass recomputes to save memory: ``none``; ``dots``, everything
            in a layer but the results of matrix products; or ``full``, the whole layer.
    """

    dtype: Any
    recompute: Recompute = "none"

    def layers(self, layer: Callable[[Any, Any], Any], x: Any, stacked: Any) -> Any:
        """Applies a layer once for each slice of its stacked parameters.

        Args:
            layer: Maps activations and the parameters of one layer to activations.
            x: Input activations.
            stacked: The parameters of all layers, a tree of arrays [layers, ...].

        Returns:
            The activations after the last layer.
        """
        import jax

        step = self._checkpointed(layer)
        count = jax.tree.leaves(stacked)[0].shape[0]
        if count > UNROLLED or self.recompute != "none":
            return jax.lax.scan(lambda x, one: (step(x, one), None), x, stacked)[0]
        # The gradient of a split is one concatenation; the gradient of indexing sums padded arrays.
        split = jax.tree.map(lambda leaf: jax.lax.split(leaf, [1] * count), stacked)
        for k in range(count):
            x = step(x, jax.tree.map(lambda parts, k=k: parts[k][0], split, is_leaf=_is_split))
        return x

    def _checkpointed(self, layer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        import jax

        if self.recompute == "none":
            return layer
        policy = None
        if self.recompute == "dots":
            policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        return jax.checkpoint(layer, policy=policy)


def constrain(x: Any, *names: str | None) -> Any:
    """Constrains the sharding of an array by its logical axes; a no-op without a mesh and rules.

    An axis that the devices do not divide evenly is not sharded.

    Args:
        x: The array.
        names: The logical axis of each dimension; None for a dimension that is not sharded.
    """
    import jax
    from flax.core import spmd

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not spmd.get_logical_axis_rules():
        return x
    spec = []
    for size, axes in zip(x.shape, spmd.get_pspec(names), strict=True):
        mesh_axes = [axes] if isinstance(axes, str) else list(axes or ())
        count = math.prod(mesh.shape[axis] for axis in mesh_axes)
        spec.append(axes if size % count == 0 else None)
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*spec))


def platform() -> str:
    """Returns the platform of the program being traced: ``cpu``, ``gpu`` or ``tpu``.

    It is the platform of the mesh, because a step may be compiled for devices of another machine.
    """
    import jax

    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else str(device.platform)


def _is_split(value: Any) -> bool:
    return isinstance(value, list | tuple)
