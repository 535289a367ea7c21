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
from scalax.hardware.memory import Bytes, kept_arrays, step_bytes, uses_flash
from scalax.hardware.names import Recompute
from scalax.hardware.network import Axis, place
from scalax.hardware.slices import Slice
from scalax.shapes.transformer import TransformerShape, attended_keys, counts, train_flops

Bound = Literal["compute", "memory", "network"]

BLOCK = 512
"""Positions in a tile of flash attention: the mask saves whole tiles alone."""
OVERLAP = 0.9
"""Share of the work beside which parameters can be gathered and scattered at all."""
EXPOSED = 0.53
"""Share of gathering and scattering parameters that is seen, though it runs beside the work."""
TENSOR_EXPOSED = 0.47
"""Share of the sums over `tensor`, which stand between matrix products, that is seen."""
TRAFFIC_WIDTH = 10.0
"""Arrays as wide as the residual stream that a block's forward pass reads or writes between
matrix products: norms, rotations, sums. They are taken as divided by `tensor`, as published
programs do."""
TRAFFIC_HIDDEN = 3.0
"""And as wide as the MLP: gate and up are read, their product written."""
QUANTISING = 3
"""Bytes moved for an operand of an int8 or fp8 product: read as bf16, written as one byte."""
OPTIMIZER_TOUCHES = 8.0
"""Float32 arrays of a parameter's size that clipping and Adam read or write."""
MARGIN = 1.06
"""What is counted must fit with so much to spare."""
CAPACITY = 1.25
"""Room of an expert's buffer, in even shares of the tokens."""
WAITING = 0.015
"""Share of a step lost to the slowest slice, for each doubling of the slices."""


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
        flops = train_flops(self.architecture) * self.tokens
        peak = self.slice.chip.peak_flops(self.precision) * self.slice.chips
        return flops / self.seconds / peak

    @property
    def fits(self) -> bool:
        """Whether a device's memory surely holds it, the count being good to some per cent."""
        return MARGIN * self.bytes.total <= self.slice.memory_limit

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
    arch: TransformerShape,
    slice_: Slice,
    layout: Layout,
    batch: int,
    *,
    precision: str,
    recompute: Recompute,
) -> Step:
    """As `simulate_step`, for a mesh and batch that are known to divide."""
    chip = slice_.chip
    flash = uses_flash(arch, chip)
    size = step_bytes(arch, layout, batch, precision=precision, recompute=recompute, flash=flash)
    work = _Work(arch, chip, layout, batch, precision, flash)
    passes = 3.0 if recompute == "none" else 4.0
    compute = arch.layers * work.block(recompute) + work.head()
    compute += passes * (arch.layers + 1) * chip.achieved.overhead_seconds
    compute += passes * work.softmax() * chip.achieved.softmax_seconds
    memory = arch.layers * passes * work.traffic() + work.optimizer() + work.logits()
    beside, between, last = _collectives(arch, layout, slice_, work, recompute)
    exposed = max(EXPOSED * beside, beside - OVERLAP * (compute + memory))
    exposed += TENSOR_EXPOSED * between + last
    waiting = WAITING * math.log2(slice_.slices) * (compute + memory + exposed)
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
        hidden=beside + between + last - exposed,
        bytes=size,
    )


@dataclass(frozen=True)
class _Work:
    """Times of one device's share, in seconds."""

    arch: TransformerShape
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

    def block(self, recompute: Recompute) -> float:
        """Products and attention of a block: forward, backward, and what is computed again.

        Of a block computed again, the last matrix's result is not needed.
        """
        seconds = self.matrices()
        once = sum(seconds.values())
        attention = self.attention()
        total = 3 * once + 3.5 * attention
        if recompute != "none":
            total += attention
        if recompute == "full":
            total += once - seconds["down"]
        return total

    def matrices(self) -> dict[str, float]:
        """The matrices of a block by name, forward."""
        found = {}
        for name, matrix in block_matrices(self.arch, self.layout).items():
            inputs = matrix.inputs / (matrix.parts if matrix.sums else 1)
            outputs = matrix.outputs / (1 if matrix.sums else matrix.parts)
            found[name] = matrix.copies * self.product(self.tokens, inputs, outputs)
        if self.arch.experts > 1:
            for name in ("up", "down"):
                found[name] *= CAPACITY
            slots = CAPACITY * self.arch.experts_per_token * self.arch.seq_len
            found["route"] = 2 * self.product(self.tokens, self.arch.width, slots)
        return found

    def attention(self) -> float:
        """Scores and mixing of a block, forward; backward takes two and a half times as long.

        They are multiplied in bf16 where weights are multiplied in less.
        """
        arch = self.arch
        heads = arch.heads / (self.layout.tensor if arch.heads % self.layout.tensor == 0 else 1)
        full = attended_keys(arch, "full")
        keys = min(attended_keys(arch, "causal") + BLOCK / 2, full) if self.flash else full
        flops = 4 * self.tokens * heads * arch.head_dim * keys
        filled = min(1.0, arch.head_dim / self.chip.mxu)
        precision = "f32" if self.precision == "f32" else "bf16"
        rate = self.chip.peak_flops(precision) / self.chip.cores
        time = flops / (rate * self.chip.achieved.matmul * self.chip.achieved.attention * filled)
        if not self.flash:  # scores are written and read again, in float32 and once more
            time += self.tokens * heads * full * (4 * 3 + self.itemsize * 2) / self.bandwidth
        return time

    def softmax(self) -> float:
        """Elements of softmaxes that no kernel of attention holds."""
        arch, tensor = self.arch, self.layout.tensor
        heads = arch.heads / (tensor if arch.heads % tensor == 0 else 1)
        scores = 0.0 if self.flash else arch.layers * heads * attended_keys(arch, "full")
        return self.tokens * (scores + arch.vocab / (tensor if arch.vocab % tensor == 0 else 1))

    def traffic(self) -> float:
        """What a block reads and writes between matrix products, forward."""
        a = kept_arrays(self.arch, self.layout, self.batch, self.itemsize, flash=True)
        width = a.width / self.layout.tensor
        moved = TRAFFIC_WIDTH * width + TRAFFIC_HIDDEN * a.hidden
        if self.precision in ("int8", "fp8"):
            moved += QUANTISING / self.itemsize * (2 * width + a.query + a.hidden)
        return moved / self.bandwidth

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
    arch: TransformerShape, layout: Layout, slice_: Slice, work: _Work, recompute: Recompute
) -> tuple[float, float, float]:
    """Seconds of collectives: beside the work, between matrix products, and across slices.

    Parameters are gathered for each of the two passes and gradients scattered once, in the
    precision of activations; so are gradients summed over `data`.
    """
    axes = place(layout, slice_)
    stored = stored_params(arch, layout)
    held = (stored["blocks"] + stored["outside"]) * work.itemsize
    fsdp, data = axes["fsdp"], axes["data"]
    beside = 2 * fsdp.gather(held * fsdp.size) + fsdp.reduce_scatter(held * fsdp.size)
    width = work.tokens * arch.width * work.itemsize
    sums = 6 if recompute == "full" else 4  # after attention and MLP, in each pass
    between = arch.layers * sums * axes["tensor"].all_reduce(width)
    if layout.expert > 1:
        sent = width * CAPACITY * arch.experts_per_token * layout.expert
        between += arch.layers * sums * axes["expert"].all_to_all(sent)
    across = data.size // data.inside
    if across == 1 or slice_.chip.topology == "nvlink":
        return beside + data.all_reduce(held), between, 0.0
    inside = Axis(data.inside, data.inside, data.bandwidth, data.outside)
    last = 2 * (across - 1) / across * held / data.inside / data.outside
    return beside + inside.all_reduce(held), between, last
