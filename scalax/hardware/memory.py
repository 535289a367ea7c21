"""Bytes on one device at the worst moment of a train step, as scalax trains and XLA compiles it.

Parameters and Adam's moments are float32 and lie sharded for the whole step. At the peak, inside
the backward pass of a block, there are besides: float32 gradients as sharded, the half-precision
copy of the blocks that XLA makes before its loop, what was kept of every block, and what one block
needs. The counts of arrays below were read off the TPU compiler's own figures
(tools/bench_simulator.py compares the two).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scalax.hardware.chips import Chip
from scalax.hardware.layout import Layout, block_matrices, stored_params
from scalax.hardware.names import Recompute
from scalax.shapes.transformer import TransformerShape

CHUNK = 2**23
"""Most logits of a sequence at a time, as `scalax.models.cross_entropy` cuts them."""
UNROLLED = 8
"""Most layers that `scalax.models.compute` does not scan, where nothing is recomputed."""


@dataclass(frozen=True)
class Bytes:
    """Bytes on one device, by kind.

    Attributes:
        parameters: Float32, as sharded.
        optimizer: Adam's two moments, float32, as sharded.
        gradients: Float32, as sharded.
        activations: All else: kept activations, one block's work, half-precision copies, logits.
    """

    parameters: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """The peak."""
        return self.parameters + self.optimizer + self.gradients + self.activations

    def to_json(self) -> dict[str, int]:
        """By kind, and the total."""
        return {**vars(self), "total": self.total}


@dataclass(frozen=True)
class Kept:
    """Bytes of the arrays of one block for a device's part of the batch."""

    width: float
    hidden: float
    query: float
    key: float
    scores: float  # of plain attention, at the precision of activations; 0 with a flash kernel


def kept_arrays(
    arch: TransformerShape, layout: Layout, batch: int, itemsize: int, flash: bool
) -> Kept:
    """The arrays of a block, each once.

    Args:
        arch: The architecture.
        layout: The mesh.
        batch: Examples in the whole batch.
        itemsize: Bytes of an activation.
        flash: Whether attention runs in a kernel that never holds the scores.
    """
    examples = math.ceil(batch / layout.batch_parts)
    tokens = examples * arch.seq_len * itemsize
    parts = {name: matrix.parts for name, matrix in block_matrices(arch, layout).items()}
    scores = 0.0 if flash else tokens * arch.heads / parts["query"] * arch.seq_len
    return Kept(
        width=tokens * arch.width,
        hidden=tokens * arch.hidden * arch.experts_per_token / parts["up"],
        query=tokens * arch.heads * arch.head_dim / parts["query"],
        key=tokens * arch.kv_heads * arch.head_dim / parts["key_value"],
        scores=scores,
    )


def uses_flash(arch: TransformerShape, chip: Chip) -> bool:
    """Whether `scalax.models.attention` takes a kernel that never holds the scores."""
    if chip.compile_name is not None:
        return arch.seq_len % 128 == 0 and arch.head_dim % 128 == 0
    return chip.topology == "nvlink" and arch.head_dim % 8 == 0 and arch.head_dim <= 128


def step_bytes(
    arch: TransformerShape,
    layout: Layout,
    batch: int,
    *,
    precision: str = "bf16",
    recompute: Recompute = "full",
    flash: bool = True,
) -> Bytes:
    """The peak of a train step on one device.

    Args:
        arch: The architecture.
        layout: The mesh.
        batch: Examples in the whole batch.
        precision: Of the matrix products; only f32 keeps float32 activations.
        recompute: What the backward pass computes again.
        flash: Whether attention runs in a kernel that never holds the scores.
    """
    stored = stored_params(arch, layout)
    params = stored["blocks"] + stored["outside"]
    itemsize = 4 if precision == "f32" else 2
    a = kept_arrays(arch, layout, batch, itemsize, flash)
    mlp = (5 if arch.gated else 3) * a.hidden
    unrolled = recompute == "none" and arch.layers <= UNROLLED
    # A scan keeps norms' float32 arrays, which XLA makes again where layers stand unrolled.
    widths = 0 if unrolled else 13
    block = widths * a.width + 2 * a.query + 2 * a.key + mlp + a.scores
    saved = {
        "none": block,
        "dots": 2 * a.width + a.query + 2 * a.key + (2 if arch.gated else 1) * a.hidden,
        "full": a.width,
    }[recompute]
    work = {"none": 0.0, "dots": 0.70 * block, "full": 0.87 * block}[recompute]
    if not flash and not unrolled:  # the float32 derivative of scores, beside scores not kept
        scores = a.scores * (4 / itemsize + (recompute != "none"))
        work = max(work, scores + 8 * a.width)
    copies = 0.0 if precision == "f32" else 0.9 * 2 * stored["blocks"]
    if layout.fsdp > 1:  # part of a block's matrices as gathered
        work += 0.3 * itemsize * layout.fsdp * stored["blocks"] / arch.layers
    backward = 4 * params + copies + arch.layers * saved + work
    peak = max(backward, _head_bytes(arch, layout, batch, itemsize) + arch.layers * saved + copies)
    whole = round(4 * params)
    gradients = min(whole, round(peak))
    return Bytes(whole, 2 * whole, gradients, round(peak) - gradients)


def _head_bytes(arch: TransformerShape, layout: Layout, batch: int, itemsize: int) -> float:
    """While the loss is computed: a chunk's logits, their derivative, the head's gradient."""
    examples = math.ceil(batch / layout.batch_parts)
    tensor = layout.tensor if arch.vocab % layout.tensor == 0 else 1
    logits = examples * min(arch.seq_len * arch.vocab, CHUNK) / tensor
    head = arch.vocab * arch.width / tensor
    return logits * (4 + itemsize) + head * (4 / layout.fsdp + 2 * itemsize + 3)
