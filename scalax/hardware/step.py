"""Models the time of a train step on accelerators, from an architecture, a mesh and a chip.

It divides an architecture over a mesh and sums the times at the chip's rates. Matrix products and
the memory traffic between them run one after the other. Gathering and scattering parameters
overlaps them; sums over `tensor` block them. Constants that no datasheet states (`achieved` in
chips.toml, and those below) were fitted to published results: the rows of
experiments/data/tpu_results.csv that are marked as used to calibrate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from scalax.errors import ScalaxError
from scalax.hardware.collectives import collective_times
from scalax.hardware.device_time import DeviceTime
from scalax.hardware.layout import Layout, check_layout
from scalax.hardware.memory import Bytes, step_bytes, uses_flash
from scalax.hardware.names import Recompute
from scalax.hardware.slices import Slice
from scalax.shapes.transformer import TransformerShape, counts, train_flops

Bound = Literal["compute", "memory", "network"]

MARGIN = 1.06
"""A step fits if its counted bytes, times this margin, fit in memory."""
_OVERLAP = 0.9
"""Share of the computation that gathering and scattering of parameters can overlap."""
_EXPOSED = 0.53
"""Share of gathering and scattering parameters that adds to the time of a step."""
_EXPOSED_TENSOR = 0.47
"""Share of the sums over `tensor`, which run between matrix products, that adds to the time."""
_STRAGGLERS = 0.015
"""Share of a step lost to the slowest slice, for each doubling of the number of slices."""


@dataclass(frozen=True)
class Step:
    """Time, memory and price of a train step.

    Attributes:
        slice: The chips.
        layout: The mesh.
        architecture: The model.
        batch: Examples in the global batch.
        precision: Precision of the matrix products.
        recompute: What the backward pass recomputes.
        compute: Seconds of matrix products and attention.
        memory: Seconds of memory traffic between them.
        network: Seconds of collectives that computation does not hide.
        hidden: Seconds of collectives that computation hides.
        bytes: Bytes on one device.
    """

    slice: Slice
    layout: Layout
    architecture: TransformerShape
    batch: int
    precision: str
    recompute: Recompute
    compute: float
    memory: float
    network: float
    hidden: float
    bytes: Bytes

    @property
    def seconds(self) -> float:
        """Seconds of one step."""
        return self.compute + self.memory + self.network

    @property
    def tokens(self) -> int:
        """Tokens in a step."""
        return self.batch * self.architecture.seq_len

    @property
    def tokens_per_second_per_chip(self) -> float:
        """Training speed, in the unit of published results."""
        return self.tokens / self.seconds / self.slice.chips

    @property
    def utilisation(self) -> float:
        """Model FLOPs (causal attention) over the dense peak FLOPs at the step's precision."""
        flops = train_flops(self.architecture) * self.tokens
        peak = self.slice.chip.peak_flops(self.precision) * self.slice.chips
        return flops / self.seconds / peak

    @property
    def fits(self) -> bool:
        """Whether the step fits in a device's memory, with a margin for the error of the count."""
        return MARGIN * self.bytes.total <= self.slice.memory_limit

    @property
    def bound(self) -> Bound:
        """The part that takes most of the time."""
        times: dict[Bound, float] = {
            "compute": self.compute,
            "memory": self.memory,
            "network": self.network,
        }
        return max(times, key=lambda name: times[name])

    @property
    def usd_per_billion_tokens(self) -> float | None:
        """Price of a billion tokens at list price, or None if no price is known."""
        price = self.slice.usd_per_hour
        return None if price is None else price / 3600 * self.seconds / self.tokens * 1e9

    def to_json(self) -> dict[str, Any]:
        """Returns the step as JSON values."""
        return {
            "chips": self.slice.name,
            "num_chips": self.slice.chips,
            "mesh": self.layout.to_json(),
            "params": counts(self.architecture).params,
            "tokens_per_step": self.tokens,
            "seq_len": self.architecture.seq_len,
            "precision": self.precision,
            "recompute": self.recompute,
            "seconds_per_step": self.seconds,
            "seconds": {
                "compute": self.compute,
                "memory": self.memory,
                "network": self.network,
                "network_hidden": self.hidden,
            },
            "tokens_per_second_per_chip": self.tokens_per_second_per_chip,
            "utilisation": self.utilisation,
            "bytes_per_device": self.bytes.to_json(),
            "memory_limit": self.slice.memory_limit,
            "fits": self.fits,
            "bound": self.bound,
            "usd_per_billion_tokens": self.usd_per_billion_tokens,
        }


def simulate_step(
    arch: TransformerShape,
    slice_: Slice,
    layout: Layout,
    batch: int,
    *,
    precision: str = "bf16",
    recompute: Recompute = "full",
) -> Step:
    """Simulates a train step.

    Args:
        arch: The architecture.
        slice_: The chips.
        layout: The mesh.
        batch: Examples in the global batch.
        precision: ``bf16``, ``f32``, ``int8`` or ``fp8``.
        recompute: What the backward pass recomputes.

    Raises:
        ScalaxError: The mesh does not divide the slice, the architecture or the batch, or the
            chip lacks the precision.
    """
    check_layout(layout, slice_, arch)
    if batch % layout.batch_parts:
        nearest = max(1, round(batch / layout.batch_parts)) * layout.batch_parts
        raise ScalaxError(
            f"a batch of {batch} sequences cannot be divided into {layout.batch_parts} parts",
            where="--batch-tokens",
            fix=f"write {nearest * arch.seq_len} ({nearest} sequences), or another --mesh",
        )
    return cost(arch, slice_, layout, batch, precision=precision, recompute=recompute)


def cost(
    arch: TransformerShape,
    slice_: Slice,
    layout: Layout,
    batch: int,
    *,
    precision: str,
    recompute: Recompute,
) -> Step:
    """Simulates a step without checking the mesh and the batch; see `simulate_step`."""
    chip = slice_.chip
    flash = uses_flash(arch, chip)
    size = step_bytes(arch, layout, batch, precision=precision, recompute=recompute, flash=flash)
    device = DeviceTime(arch, chip, layout, batch, precision, flash)
    passes = 3.0 if recompute == "none" else 4.0
    compute = arch.layers * device.block(recompute) + device.head()
    compute += passes * (arch.layers + 1) * chip.achieved.overhead_seconds
    compute += passes * device.softmax_elements() * chip.achieved.softmax_seconds
    memory = arch.layers * passes * device.block_traffic()
    memory += device.optimizer_traffic()
    memory += device.logit_traffic()
    collectives = collective_times(
        arch, layout, slice_, tokens=device.tokens, itemsize=device.itemsize, recompute=recompute
    )
    overlapped, blocking = collectives.overlapped, collectives.blocking
    across_slices = collectives.across_slices
    exposed = max(_EXPOSED * overlapped, overlapped - _OVERLAP * (compute + memory))
    exposed += _EXPOSED_TENSOR * blocking + across_slices
    waiting = _STRAGGLERS * math.log2(slice_.slices) * (compute + memory + exposed)
    return Step(
        slice=slice_,
        layout=layout,
        architecture=arch,
        batch=batch,
        precision=precision,
        recompute=recompute,
        compute=compute,
        memory=memory,
        network=exposed + waiting,
        hidden=overlapped + blocking + across_slices - exposed,
        bytes=size,
    )
