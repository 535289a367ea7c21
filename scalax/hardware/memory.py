"""Estimates the peak bytes on one device during a train step, as scalax trains and XLA compiles.

Parameters and Adam's moments are sharded float32 arrays for the whole step. The peak is inside the
backward pass of a block. It adds sharded float32 gradients, the half-precision copy of the blocks
that XLA makes before its loop, the saved activations of every block, and the working memory of one
block. The array counts below were derived from the TPU compiler's reports;
tools/bench_simulator.py compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scalax.hardware.chips import Chip
from scalax.hardware.layout import Layout, block_matrices, even_shards, stored_params
from scalax.hardware.names import Recompute
from scalax.shapes.transformer import TransformerShape

CHUNK = 2**23
"""Largest number of logits of a sequence at a time, as in `scalax.models.cross_entropy`."""
UNROLLED = 8
"""Most layers that `scalax.models.compute` unrolls instead of scanning, without recomputation."""


@dataclass(frozen=True)
class Bytes:
    """Bytes on one device, by kind.

    Attributes:
        parameters: Sharded float32 parameters.
        optimizer: Adam's two moments, sharded float32.
        gradients: Sharded float32 gradients.
        activations: Everything else: saved activations, the working memory of one block,
            half-precision copies and logits.
    """

    parameters: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes at the peak of the step."""
        return self.parameters + self.optimizer + self.gradients + self.activations

    def to_json(self) -> dict[str, int]:
        """Returns the bytes by kind and in total."""
        return {**vars(self), "total": self.total}


@dataclass(frozen=True)
class BlockArrays:
    """Bytes of the arrays of one block for one device's part of the batch.

    Attributes:
        width: An array as wide as the residual stream.
        hidden: An array as wide as the MLP.
        query: The queries.
        key: The keys, or the values.
        scores: Attention scores at the precision of activations; 0 with a flash kernel.
    """

    width: float
    hidden: float
    query: float
    key: float
    scores: float


def block_arrays(
    arch: TransformerShape, layout: Layout, batch: int, itemsize: int, flash: bool
) -> BlockArrays:
    """Returns the bytes of each kind of array in a block.

    Args:
        arch: The architecture.
        layout: The mesh.
        batch: Examples in the global batch.
        itemsize: Bytes per activation.
        flash: Whether attention runs in a kernel that never stores the scores.
    """
    examples = math.ceil(batch / layout.batch_parts)
    tokens = examples * arch.seq_len * itemsize
    shards = {name: matrix.shards for name, matrix in block_matrices(arch, layout).items()}
    scores = 0.0 if flash else tokens * arch.heads / shards["query"] * arch.seq_len
    return BlockArrays(
        width=tokens * arch.width,
        hidden=tokens * arch.hidden * arch.experts_per_token / shards["up"],
        query=tokens * arch.heads * arch.head_dim / shards["query"],
        key=tokens * arch.kv_heads * arch.head_dim / shards["key_value"],
        scores=scores,
    )


def uses_flash(arch: TransformerShape, chip: Chip) -> bool:
    """Returns whether `scalax.models.attention` uses a kernel that never stores the scores."""
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
    """Returns the bytes on one device at the peak of a train step.

    Args:
        arch: The architecture.
        layout: The mesh.
        batch: Examples in the global batch.
        precision: Precision of the matrix products; only f32 has float32 activations.
        recompute: What the backward pass recomputes.
        flash: Whether attention runs in a kernel that never stores the scores.
    """
    stored = stored_params(arch, layout)
    params = stored["blocks"] + stored["outside"]
    itemsize = 4 if precision == "f32" else 2
    arrays = block_arrays(arch, layout, batch, itemsize, flash)
    mlp = (5 if arch.gated else 3) * arrays.hidden
    unrolled = recompute == "none" and arch.layers <= UNROLLED
    # A scan saves the norms' float32 arrays; XLA recomputes them in unrolled layers.
    widths = 0 if unrolled else 13
    block = widths * arrays.width + 2 * arrays.query + 2 * arrays.key + mlp + arrays.scores
    saved = {
        "none": block,
        "dots": 2 * arrays.width
        + arrays.query
        + 2 * arrays.key
        + (2 if arch.gated else 1) * arrays.hidden,
        "full": arrays.width,
    }[recompute]
    working = {"none": 0.0, "dots": 0.70 * block, "full": 0.87 * block}[recompute]
    if not flash and not unrolled:  # float32 gradient of the scores, and scores not saved
        scores = arrays.scores * (4 / itemsize + (recompute != "none"))
        working = max(working, scores + 8 * arrays.width)
    copies = 0.0 if precision == "f32" else 0.9 * 2 * stored["blocks"]
    if layout.fsdp > 1:  # part of a block's gathered matrices
        working += 0.3 * itemsize * layout.fsdp * stored["blocks"] / arch.layers
    backward = 4 * params + copies + arch.layers * saved + working
    peak = max(backward, _head_bytes(arch, layout, batch, itemsize) + arch.layers * saved + copies)
    stored_bytes = round(4 * params)
    gradients = min(stored_bytes, round(peak))
    return Bytes(stored_bytes, 2 * stored_bytes, gradients, round(peak) - gradients)


def _head_bytes(arch: TransformerShape, layout: Layout, batch: int, itemsize: int) -> float:
    """Bytes while the loss is computed: a chunk of logits, their gradient, the head's gradient."""
    examples = math.ceil(batch / layout.batch_parts)
    tensor = even_shards(arch.vocab, layout.tensor)
    logits = examples * min(arch.seq_len * arch.vocab, CHUNK) / tensor
    head = arch.vocab * arch.width / tensor
    return logits * (4 + itemsize) + head * (4 / layout.fsdp + 2 * itemsize + 3)
