"""Times of the collectives of a train step over a mesh."""

from __future__ import annotations

from dataclasses import dataclass

from scalax.hardware.device_time import EXPERT_CAPACITY
from scalax.hardware.layout import Layout, stored_params
from scalax.hardware.names import Recompute
from scalax.hardware.network import Axis, place_axes
from scalax.hardware.slices import Slice
from scalax.shapes.transformer import TransformerShape


@dataclass(frozen=True)
class CollectiveTimes:
    """Seconds of the collectives of a step.

    Attributes:
        overlapped: Collectives that can overlap computation: gathering parameters, scattering and
            summing gradients.
        blocking: Collectives that matrix products wait for: sums over `tensor` and exchanges over
            `expert`.
        across_slices: Sums of gradients across TPU slices, after the backward pass.
    """

    overlapped: float
    blocking: float
    across_slices: float


def collective_times(
    arch: TransformerShape,
    layout: Layout,
    slice_: Slice,
    *,
    tokens: float,
    itemsize: int,
    recompute: Recompute,
) -> CollectiveTimes:
    """Returns the times of the collectives of a step.

    Parameters are gathered for each of the two passes and gradients are scattered once, both at
    the precision of activations. Gradients are summed over `data` at the same precision.

    Args:
        arch: The architecture.
        layout: The mesh.
        slice_: The chips.
        tokens: Tokens per device and step.
        itemsize: Bytes per activation.
        recompute: What the backward pass recomputes.
    """
    axes = place_axes(layout, slice_)
    stored = stored_params(arch, layout)
    shard_bytes = (stored["blocks"] + stored["outside"]) * itemsize
    fsdp, data = axes["fsdp"], axes["data"]
    full_bytes = shard_bytes * fsdp.size
    overlapped = 2 * fsdp.gather(full_bytes) + fsdp.reduce_scatter(full_bytes)
    activation_bytes = tokens * arch.width * itemsize
    sums = 6 if recompute == "full" else 4  # after attention and MLP, in each pass
    blocking = arch.layers * sums * axes["tensor"].all_reduce(activation_bytes)
    if layout.expert > 1:
        sent = activation_bytes * EXPERT_CAPACITY * arch.experts_per_token * layout.expert
        blocking += arch.layers * sums * axes["expert"].all_to_all(sent)
    slices = data.size // data.inside
    if slices == 1 or slice_.chip.topology == "nvlink":
        return CollectiveTimes(overlapped + data.all_reduce(shard_bytes), blocking, 0.0)
    inside = Axis(data.inside, data.inside, data.bandwidth, data.outside)
    across_slices = 2 * (slices - 1) / slices * shard_bytes / data.inside / data.outside
    return CollectiveTimes(overlapped + inside.all_reduce(shard_bytes), blocking, across_slices)
