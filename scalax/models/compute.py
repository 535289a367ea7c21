"""How a module is to be computed: precision, what to recompute, how activations lie, where it runs.

None of it changes what is computed beyond rounding; it imports jax only where it acts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Recompute = Literal["none", "dots", "full"]
UNROLLED = 8
"""Up to this number of layers are unrolled in the program, which is faster; more are scanned,
so that the time to compile does not grow with depth. So are layers to be recomputed: from one
after another a TPU's compiler saves nothing, computing all again before it needs the first."""


@dataclass(frozen=True)
class Compute:
    """How a module computes: the argument of `ModelFamily.build`.

    Attributes:
        dtype: The jax dtype of activations and matrix products; parameters stay float32.
        recompute: What the backward pass computes again instead of keeping: nothing, all but the
            results of matrix products, or everything inside a layer.
    """

    dtype: Any
    recompute: Recompute = "none"

    def layers(self, layer: Callable[[Any, Any], Any], x: Any, stacked: Any) -> Any:
        """Applies a layer once for each slice of its stacked parameters.

        Args:
            layer: From activations and the parameters of one layer to activations.
            x: Activations.
            stacked: A tree of arrays [layers, ...].

        Returns:
            The activations after the last layer.
        """
        import jax

        step = self._checkpointed(layer)
        count = jax.tree.leaves(stacked)[0].shape[0]
        if count > UNROLLED or self.recompute != "none":
            return jax.lax.scan(lambda x, one: (step(x, one), None), x, stacked)[0]
        # The transpose of a split is one concatenation; that of an index would add up zeros.
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
    """Asks that an array lie as its logical axes say, where a mesh and rules are set.

    Args:
        x: The array.
        names: A logical axis for each dimension; None where it may lie in any way.
    """
    import jax
    from flax.core import spmd

    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not spmd.get_logical_axis_rules():
        return x
    spec = []
    for size, axes in zip(x.shape, spmd.get_pspec(names), strict=True):
        across = [axes] if isinstance(axes, str) else list(axes or ())
        count = math.prod(mesh.shape[axis] for axis in across)
        spec.append(axes if size % count == 0 else None)
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*spec))


def platform() -> str:
    """``cpu``, ``gpu`` or ``tpu``: where the program being traced will run.

    That is the mesh's platform: a step may be compiled here for devices that are elsewhere.
    """
    import jax

    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else str(device.platform)


def _is_split(value: Any) -> bool:
    return isinstance(value, list | tuple)
