"""The time of one train step on a slice: matrix products, attention, memory traffic, collectives.

Analytic, without jax: each part is counted from the architecture and the mesh, and takes the time
that the chip's rates give. Matrix products and the traffic between them follow one another;
gathering and scattering parameters runs beside them; sums over `tensor` stand in their way.
Constants that no datasheet states (`achieved` in chips.toml and the figures below) were fitted to
published results, named in experiments/data/tpu_results.csv as rows used to calibrate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from scalax.errors import ScalaxError
from scalax.hardware.chips import Chip
from scalax.hardware.layout import Layout, block_matrices, check_layout, stored_params
from scalax.hardware.memory import Bytes, Recompute, kept_arrays, step_bytes, uses_flash
from scalax.hardware.network import Axis, place
from scalax.hardware.slices import Slice
from scalax.shapes.architecture import Architecture

Bound = Literal["compute", "memory", "network"]

ATTENTION = 0.60
"""Of what matrix products achieve, a flash kernel's forward pass; softmax takes the rest."""
BLOCK = 512
"""Positions in a tile of flash attention: the mask saves whole tiles alone."""
TENSOR_OVERLAP = 0.5
"""Share of the sums over `tensor` that runs beside matrix products."""
OVERLAP = 0.9
"""Share of a block's time beside which gathering and scattering of parameters can run."""
TRAFFIC_WIDTH = 10.0
"""Arrays as wide as the residual stream that a block's forward pass reads or writes between
matrix products: norms, rotations, sums."""
TRAFFIC_HIDDEN = 3.0
"""And as wide as the MLP: gate and up are read, their product written."""
OPTIMIZER_TOUCHES = 8.0
"""Float32 arrays of a parameter's size that clipping and Adam read or write."""


@dataclass(frozen=True)
class Step:
    """What a train step costs.

    Attributes:
        slice: The chips.
        layout: The mesh.
        architecture: The model.
        batch: Examples in a batch.
        precision: Of the matrix products.
        recompute: What the backward pass computes again.
        compute: Seconds of matrix products and attention.
        memory: Seconds of memory traffic besides.
        network: Seconds of collectives that nothing hides.
        hidden: Seconds of collectives that run beside the rest.
        bytes: On one device.
    """

    slice: Slice
    layout: Layout
    architecture: Architecture
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
        """Of one step."""
        return self.compute + self.memory + self.network

    @property
    def tokens(self) -> int:
        """In a step."""
        return self.batch * self.architecture.seq_len

    @property
    def tokens_per_second_per_chip(self) -> float:
        """As published results are told."""
        return self.tokens / self.seconds / self.slice.chips

    @property
    def utilisation(self) -> float:
        """Model FLOPs (attention counted causal) over the dense peak at that precision."""
        flops = self.architecture.flops_per_token("causal") * self.tokens
        peak = self.slice.chip.peak_flops(self.precision) * self.slice.chips
        return flops / self.seconds / peak

    @property
    def fits(self) -> bool:
        """Whether a device's memory holds it."""
        return self.bytes.total <= self.slice.memory_limit

    @property
    def bound(self) -> Bound:
        """What takes most of the time."""
        times: dict[Bound, float] = {
            "compute": self.compute,
            "memory": self.memory,
            "network": self.network,
        }
        return max(times, key=lambda name: times[name])

    @property
    def usd_per_billion_tokens(self) -> float | None:
        """At list price; None where none is known."""
        price = self.slice.usd_per_hour
        return None if price is None else price / 3600 * self.seconds / self.tokens * 1e9

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "chips": self.slice.name,
            "num_chips": self.slice.chips,
            "mesh": self.layout.to_json(),
            "params": self.architecture.counts().params,
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
    arch: Architecture,
    slice_: Slice,
    layout: Layout,
    batch: int,
    *,
    precision: str = "bf16",
    recompute: Recompute = "full",
) -> Step:
    """The cost of a train step.

    Args:
        arch: The architecture.
        slice_: The chips.
        layout: The mesh over them.
        batch: Examples in the whole batch.
        precision: ``bf16``, ``f32``, ``int8`` or ``fp8``.
        recompute: What the backward pass computes again.

    Raises:
        ScalaxError: The mesh does not divide the slice, the architecture or the batch, or the
            chip does not have the precision.
    """
    check_layout(layout, slice_, arch)
    if batch % layout.batch_parts:
        near = max(1, round(batch / layout.batch_parts)) * layout.batch_parts
        raise ScalaxError(
            f"a batch of {batch} sequences does not divide among {layout.batch_parts} parts",
            where="--batch-tokens",
            fix=f"{near} sequences are {near * arch.seq_len} tokens; or another --mesh",
        )
    return cost(arch, slice_, layout, batch, precision=precision, recompute=recompute)


def cost(
    arch: Architecture,
    slice_: Slice,
    layout: Layout,
    batch: int,
    *,
    precision: str,
    recompute: Recompute,
) -> Step:
    """As `simulate_step`, for a mesh and batch that are known to divide."""
    chip = slice_.chip
    flash = uses_flash(arch, chip.compile_name is not None)
    size = step_bytes(arch, layout, batch, precision=precision, recompute=recompute, flash=flash)
    work = _Work(arch, chip, layout, batch, precision, flash)
    axes = place(layout, slice_)
    again = {"none": 0.0, "dots": 0.0, "full": 1.0}[recompute]
    again_attention = 0.0 if recompute == "none" else 1.0
    compute = (
        arch.layers * ((3 + again) * work.matrices() + (3.5 + again_attention) * work.attention())
        + work.head()
    )
    traffic = 3.0 + again_attention
    memory = arch.layers * traffic * work.traffic() + work.optimizer() + work.logits()
    beside, between, last = _collectives(arch, layout, slice_, axes, work, again)
    room = OVERLAP * (compute + memory)
    exposed = max(0.0, beside - room) + (1 - TENSOR_OVERLAP) * between + last
    return Step(
        slice=slice_,
        layout=layout,
        architecture=arch,
        batch=batch,
        precision=precision,
        recompute=recompute,
        compute=compute,
        memory=memory,
        network=exposed,
        hidden=beside + between + last - exposed,
        bytes=size,
    )


@dataclass(frozen=True)
class _Work:
    """Times of one device's share, in seconds."""

    arch: Architecture
    chip: Chip
    layout: Layout
    batch: int
    precision: str
    flash: bool

    @property
    def tokens(self) -> float:
        return math.ceil(self.batch / self.layout.batch_parts) * self.arch.seq_len

    @property
    def rate(self) -> float:
        """FLOP/s of a device."""
        return self.chip.peak_flops(self.precision) / self.chip.cores

    @property
    def bandwidth(self) -> float:
        """Bytes/s of a device's memory."""
        return self.chip.memory_bandwidth * self.chip.achieved.memory / self.chip.cores

    @property
    def itemsize(self) -> int:
        return 4 if self.precision == "f32" else 2

    def product(self, rows: float, inputs: float, outputs: float) -> float:
        """A matrix product: at the rate of the matrix units or of the memory, whichever is less."""
        tile = self.chip.mxu
        filled = _filled(inputs, tile) * _filled(outputs, tile) * _filled(rows, 8)
        flops = 2 * rows * inputs * outputs
        moved = self.itemsize * (rows * inputs + inputs * outputs + rows * outputs)
        return max(flops / (self.rate * self.chip.achieved.matmul * filled), moved / self.bandwidth)

    def matrices(self) -> float:
        """The matrices of a block, forward."""
        total = 0.0
        for matrix in block_matrices(self.arch, self.layout).values():
            inputs = matrix.inputs / (matrix.parts if matrix.sums else 1)
            outputs = matrix.outputs / (1 if matrix.sums else matrix.parts)
            total += matrix.copies * self.product(self.tokens, inputs, outputs)
        return total

    def attention(self) -> float:
        """Scores and mixing of a block, forward; backward takes two and a half times as long."""
        arch = self.arch
        heads = arch.heads / (self.layout.tensor if arch.heads % self.layout.tensor == 0 else 1)
        full = arch.attended("full")
        keys = min(arch.attended("causal") + BLOCK / 2, full) if self.flash else full
        flops = 4 * self.tokens * heads * arch.head_dim * keys
        filled = min(1.0, arch.head_dim / self.chip.mxu)
        speed = self.rate * self.chip.achieved.matmul * ATTENTION * filled
        time = flops / speed
        if not self.flash:  # scores are written and read again, in float32 and once more
            time += self.tokens * heads * full * (4 * 3 + self.itemsize * 2) / self.bandwidth
        return time

    def traffic(self) -> float:
        """What a block reads and writes between matrix products, forward."""
        a = kept_arrays(self.arch, self.layout, self.batch, self.itemsize, flash=True)
        return (TRAFFIC_WIDTH * a.width + TRAFFIC_HIDDEN * a.hidden) / self.bandwidth

    def head(self) -> float:
        """The head forward, forward again where its logits are cut up, and backward."""
        arch = self.arch
        parts = self.layout.tensor if arch.vocab % self.layout.tensor == 0 else 1
        return 4 * self.product(self.tokens, arch.width, arch.vocab / parts)

    def logits(self) -> float:
        """Traffic of float32 logits: written, read, their derivative written and read."""
        parts = self.layout.tensor if self.arch.vocab % self.layout.tensor == 0 else 1
        return 4 * 4 * self.tokens * self.arch.vocab / parts / self.bandwidth

    def optimizer(self) -> float:
        """Clipping and Adam."""
        stored = stored_params(self.arch, self.layout)
        params = stored["blocks"] + stored["outside"]
        return OPTIMIZER_TOUCHES * 4 * params / self.bandwidth


def _filled(size: float, tile: int) -> float:
    """Share of the matrix units' tiles that a dimension fills."""
    return size / (math.ceil(size / tile) * tile)


def _collectives(
    arch: Architecture,
    layout: Layout,
    slice_: Slice,
    axes: dict[str, Axis],
    work: _Work,
    again: float,
) -> tuple[float, float, float]:
    """Seconds of collectives: beside the work, between matrix products, and after the last one."""
    itemsize = work.itemsize
    stored = stored_params(arch, layout)
    gathered = (stored["blocks"] + stored["outside"]) * layout.fsdp * itemsize
    beside = 2 * axes["fsdp"].gather(gathered) + axes["fsdp"].reduce_scatter(gathered)
    width = work.tokens * arch.width * itemsize
    sums = 4 + 2 * again  # after attention and MLP: forward, backward, and forward again
    between = arch.layers * sums * axes["tensor"].all_reduce(width)
    if layout.expert > 1:
        sent = width * arch.experts_per_token * layout.expert
        between += arch.layers * (4 + 2 * again) * axes["expert"].all_to_all(sent)
    grads = 4 * (stored["blocks"] + stored["outside"])
    data = axes["data"]
    if data.size > 1 and slice_.slices > 1 and data.size // data.inside > 1:
        inside = Axis(data.inside, data.inside, data.bandwidth, data.outside)
        beside += inside.all_reduce(grads)
        across = data.size // data.inside
        last = 2 * (across - 1) / across * grads / data.inside / data.outside
    else:
        beside, last = beside + data.all_reduce(grads), 0.0
    return beside, between, last
