"""Times of one device's share of a train step: matrix products, attention and memory traffic.

Constants that no datasheet states were fitted to published results: the rows of
experiments/data/tpu_results.csv that are marked as used to calibrate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scalax.hardware.chips import Chip
from scalax.hardware.layout import Layout, block_matrices, even_shards, stored_params
from scalax.hardware.memory import block_arrays
from scalax.hardware.names import Recompute
from scalax.shapes.transformer import TransformerShape, attended_keys

EXPERT_CAPACITY = 1.25
"""Size of an expert's buffer, relative to an even share of the tokens."""
_TILE = 512
"""Positions in a tile of flash attention; a mask saves only whole tiles."""
_TRAFFIC_WIDTH = 10.0
"""Number of arrays as wide as the residual stream that the forward pass of a block reads or writes
between matrix products: norms, rotations, sums. They are divided by `tensor`, as in published
programs."""
_TRAFFIC_HIDDEN = 3.0
"""Number of such arrays as wide as the MLP: gate and up are read, their product is written."""
_QUANTISED_BYTES = 3
"""Bytes moved per operand of an int8 or fp8 product: two read as bf16, one written."""
_OPTIMIZER_ARRAYS = 8.0
"""Number of float32 arrays of the parameters' size that clipping and Adam read or write."""


@dataclass(frozen=True)
class DeviceTime:
    """Computes the times of one device's share of a step, in seconds.

    Attributes:
        arch: The architecture.
        chip: The chip.
        layout: The mesh.
        batch: Examples in the global batch.
        precision: Precision of the matrix products.
        flash: Whether attention runs in a kernel that never stores the scores.
    """

    arch: TransformerShape
    chip: Chip
    layout: Layout
    batch: int
    precision: str
    flash: bool

    @property
    def tokens(self) -> float:
        """Tokens that the device processes in a step."""
        return math.ceil(self.batch / self.layout.batch_parts) * self.arch.seq_len

    @property
    def itemsize(self) -> int:
        """Bytes per activation."""
        return 4 if self.precision == "f32" else 2

    @property
    def _peak(self) -> float:
        """Peak FLOP/s."""
        return self.chip.peak_flops(self.precision) / self.chip.cores

    @property
    def _bandwidth(self) -> float:
        """Memory bandwidth that is reached, in bytes/s."""
        return self.chip.memory_bandwidth * self.chip.achieved.memory / self.chip.cores

    def block(self, recompute: Recompute) -> float:
        """Returns the time of the products and attention of a block.

        It counts the forward pass, the backward pass and recomputation. A recomputed block does
        not need the result of its last matrix.
        """
        seconds = self._matrices()
        once = sum(seconds.values())
        attention = self._attention()
        total = 3 * once + 3.5 * attention
        if recompute != "none":
            total += attention
        if recompute == "full":
            total += once - seconds["down"]
        return total

    def head(self) -> float:
        """Returns the time of the head: forward, forward again for chunked logits, backward."""
        columns = self.arch.vocab / even_shards(self.arch.vocab, self.layout.tensor)
        return 4 * self._product(self.tokens, self.arch.width, columns)

    def softmax_elements(self) -> float:
        """Returns the number of softmax elements outside attention kernels."""
        arch, tensor = self.arch, self.layout.tensor
        heads = arch.heads / even_shards(arch.heads, tensor)
        scores = 0.0 if self.flash else arch.layers * heads * attended_keys(arch, "full")
        return self.tokens * (scores + arch.vocab / even_shards(arch.vocab, tensor))

    def block_traffic(self) -> float:
        """Returns the time of memory traffic between a block's products in the forward pass."""
        arrays = block_arrays(self.arch, self.layout, self.batch, self.itemsize, flash=True)
        width = arrays.width / self.layout.tensor
        moved = _TRAFFIC_WIDTH * width + _TRAFFIC_HIDDEN * arrays.hidden
        if self.precision in ("int8", "fp8"):
            moved += _QUANTISED_BYTES / self.itemsize * (2 * width + arrays.query + arrays.hidden)
        return moved / self._bandwidth

    def logit_traffic(self) -> float:
        """Returns the time to write and read the float32 logits and their gradient."""
        shards = even_shards(self.arch.vocab, self.layout.tensor)
        return 4 * 4 * self.tokens * self.arch.vocab / shards / self._bandwidth

    def optimizer_traffic(self) -> float:
        """Returns the time of clipping and Adam."""
        stored = stored_params(self.arch, self.layout)
        params = stored["blocks"] + stored["outside"]
        return _OPTIMIZER_ARRAYS * 4 * params / self._bandwidth

    def _product(self, rows: float, inputs: float, outputs: float) -> float:
        """Returns the time of a matrix product, limited by the matrix units or the memory."""
        tile = self.chip.mxu
        filled = _filled(inputs, tile) * _filled(outputs, tile) * _filled(rows, 8)
        flops = 2 * rows * inputs * outputs
        moved = self.itemsize * (rows * inputs + inputs * outputs + rows * outputs)
        return max(
            flops / (self._peak * self.chip.achieved.matmul * filled), moved / self._bandwidth
        )

    def _matrices(self) -> dict[str, float]:
        """Returns the forward time of each matrix of a block."""
        seconds = {}
        for name, matrix in block_matrices(self.arch, self.layout).items():
            inputs = matrix.inputs / (matrix.shards if matrix.sharded_inputs else 1)
            outputs = matrix.outputs / (1 if matrix.sharded_inputs else matrix.shards)
            seconds[name] = matrix.copies * self._product(self.tokens, inputs, outputs)
        if self.arch.experts > 1:
            for name in ("up", "down"):
                seconds[name] *= EXPERT_CAPACITY
            slots = EXPERT_CAPACITY * self.arch.experts_per_token * self.arch.seq_len
            seconds["route"] = 2 * self._product(self.tokens, self.arch.width, slots)
        return seconds

    def _attention(self) -> float:
        """Returns the forward time of a block's attention scores and weighted sums.

        The backward pass takes 2.5 times as long. Models whose matrices are int8 or fp8 compute
        attention in bf16.
        """
        arch = self.arch
        heads = arch.heads / even_shards(arch.heads, self.layout.tensor)
        full = attended_keys(arch, "full")
        keys = min(attended_keys(arch, "causal") + _TILE / 2, full) if self.flash else full
        flops = 4 * self.tokens * heads * arch.head_dim * keys
        filled = min(1.0, arch.head_dim / self.chip.mxu)
        precision = "f32" if self.precision == "f32" else "bf16"
        peak = self.chip.peak_flops(precision) / self.chip.cores
        time = flops / (peak * self.chip.achieved.matmul * self.chip.achieved.attention * filled)
        if not self.flash:  # scores are written and read in float32 and once more
            moved = self.tokens * heads * full * (4 * 3 + self.itemsize * 2)
            time += moved / self._bandwidth
        return time


def _filled(size: float, tile: int) -> float:
    """Returns the share of the matrix units' tiles that a dimension fills."""
    return size / (math.ceil(size / tile) * tile)
