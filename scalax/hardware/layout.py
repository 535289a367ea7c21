"""Meshes of devices, and how they divide the matrices of a transformer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from scalax.errors import ScalaxError, suggest
from scalax.hardware.slices import Slice
from scalax.shapes.transformer import TransformerShape, counts

AXES = ("data", "fsdp", "tensor", "expert")


@dataclass(frozen=True)
class Layout:
    """Numbers of devices along the axes of a mesh.

    Attributes:
        data: Replicas of the model; each takes a part of the batch.
        fsdp: Shards of every parameter and of the batch; parameters are gathered before use.
        tensor: Shards of heads, MLPs and vocabulary; activations are summed over them.
        expert: Shards of the experts and of the batch.
    """

    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1

    @property
    def devices(self) -> int:
        """Number of devices in the mesh."""
        return self.data * self.fsdp * self.tensor * self.expert

    @property
    def batch_parts(self) -> int:
        """Number of parts that a batch is divided into."""
        return self.data * self.fsdp * self.expert

    def to_json(self) -> dict[str, int]:
        """Returns the sizes by axis, without axes of size 1 (but at least one axis)."""
        sizes = {axis: getattr(self, axis) for axis in AXES if getattr(self, axis) > 1}
        return sizes or {"data": 1}

    def __str__(self) -> str:
        return ",".join(f"{axis}={size}" for axis, size in self.to_json().items())


def parse_mesh(text: str) -> Layout:
    """Parses a mesh as written on the command line.

    Raises:
        ScalaxError: An axis is unknown, or a size is not a positive integer.

    Example:
        >>> parse_mesh("fsdp=16,tensor=4")
        Layout(data=1, fsdp=16, tensor=4, expert=1)
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, equals, size = (piece.strip() for piece in part.partition("="))
        if not equals or not size.isdigit() or int(size) < 1:
            raise ScalaxError(
                f"expected AXIS=SIZE, got {part.strip()!r}",
                where="--mesh",
                fix="write --mesh fsdp=16, or fsdp=16,tensor=4",
            )
        if axis not in AXES:
            raise ScalaxError(f"unknown axis {axis!r}", where="--mesh", fix=suggest(axis, AXES))
        sizes[axis] = int(size)
    return Layout(**sizes)


def check_layout(layout: Layout, slice_: Slice, arch: TransformerShape) -> None:
    """Checks that a mesh divides the slice and the architecture.

    Raises:
        ScalaxError: It does not; the fix lists meshes that do.
    """

    def fail(message: str) -> None:
        alternatives = ", ".join(map(str, itertools.islice(_suggestions(layout, slice_, arch), 4)))
        raise ScalaxError(
            message,
            where=f"--mesh {layout}",
            fix=f"write one of {alternatives}" if alternatives else "choose another slice",
        )

    if layout.devices != slice_.devices:
        unit = "devices, two per chip" if slice_.chip.cores == 2 else "chips"
        fail(
            f"the mesh has {layout.devices} devices, but {slice_.name} has {slice_.devices} {unit}"
        )
    if layout.data % slice_.slices and layout.fsdp % slice_.slices:
        fail(f"neither data nor fsdp is a multiple of the {slice_.slices} slices")
    if arch.experts % layout.expert:
        fail(f"{arch.experts} experts cannot be divided into {layout.expert} shards")
    if layout.tensor > 1 and arch.hidden % layout.tensor:
        fail(f"an MLP of width {arch.hidden} cannot be divided into {layout.tensor} shards")
    if arch.width % layout.fsdp:
        fail(f"a width of {arch.width} cannot be divided into {layout.fsdp} shards")


def layouts(slice_: Slice, arch: TransformerShape) -> list[Layout]:
    """Returns every mesh over a slice that scalax's trainer accepts.

    In the trainer only the data axis crosses slices. Published programs also cross with fsdp;
    `check_layout` accepts such a mesh if a user names it.
    """
    accepted = []
    devices = slice_.devices
    for tensor, expert in itertools.product(_divisors(devices, 64), _divisors(devices, 64)):
        if devices % (tensor * expert) or arch.hidden % tensor or arch.experts % expert:
            continue
        rest = devices // tensor // expert
        for fsdp in _divisors(rest, rest):
            layout = Layout(rest // fsdp, fsdp, tensor, expert)
            if arch.width % fsdp == 0 and layout.data % slice_.slices == 0:
                accepted.append(layout)
    return accepted


def _suggestions(wanted: Layout, slice_: Slice, arch: TransformerShape) -> list[Layout]:
    """Returns the valid meshes, most similar first."""

    def distance(layout: Layout) -> float:
        return sum(abs(math.log(getattr(layout, a) / getattr(wanted, a))) for a in AXES)

    return sorted(layouts(slice_, arch), key=distance)


def _divisors(number: int, limit: int) -> list[int]:
    return [n for n in range(1, min(number, limit) + 1) if number % n == 0]


@dataclass(frozen=True)
class BlockMatrix:
    """A weight matrix of a block.

    Attributes:
        inputs: Number of rows, the dimension that the product sums over.
        outputs: Number of columns.
        shards: Number of shards along `tensor`; 1 if the dimension does not divide evenly.
        sharded_inputs: Whether the shards divide the inputs, so that results are summed.
        copies: Number of such matrices that a token uses in a block: 2 for key and value, and
            the experts per token for an MLP.
    """

    inputs: int
    outputs: int
    shards: int
    sharded_inputs: bool
    copies: float = 1.0


def even_shards(dimension: int, axis: int) -> int:
    """Returns the number of shards of a dimension along a mesh axis: 1 if it does not divide.

    Example:
        >>> even_shards(32, 4), even_shards(3, 2)
        (4, 1)
    """
    return axis if dimension % axis == 0 else 1


def block_matrices(arch: TransformerShape, layout: Layout) -> dict[str, BlockMatrix]:
    """Returns the matrices of a block by name; experts are counted as one token uses them."""

    def shards(dimension: int) -> int:
        return even_shards(dimension, layout.tensor)

    heads = arch.heads * arch.head_dim
    kv = arch.kv_heads * arch.head_dim
    used = float(arch.experts_per_token)
    mlp = shards(arch.hidden)
    return {
        "query": BlockMatrix(arch.width, heads, shards(arch.heads), False),
        "key_value": BlockMatrix(arch.width, kv, shards(arch.kv_heads), False, 2.0),
        "out": BlockMatrix(heads, arch.width, shards(arch.heads), True),
        "up": BlockMatrix(arch.width, arch.hidden, mlp, False, used * (2.0 if arch.gated else 1.0)),
        "down": BlockMatrix(arch.hidden, arch.width, mlp, True, used),
    }


def stored_params(arch: TransformerShape, layout: Layout) -> Mapping[str, float]:
    """Returns the number of parameters on one device, inside (``blocks``) and ``outside`` blocks.

    fsdp divides each matrix along the width, and tensor along heads, MLP or vocabulary, if they
    divide evenly; otherwise the matrix is replicated. Norms and biases are always replicated.
    """
    fsdp = even_shards(arch.width, layout.fsdp)
    experts = even_shards(arch.experts, layout.expert)
    per_expert = arch.experts / experts / arch.experts_per_token
    total = 0.0
    for name, matrix in block_matrices(arch, layout).items():
        count = matrix.copies * (per_expert if name in ("up", "down") else 1.0)
        total += count * matrix.inputs * matrix.outputs / matrix.shards / fsdp
    params = counts(arch).params
    matrices = arch.attention_params + arch.experts * arch.expert_params
    head = arch.vocab * arch.width * (1 if arch.tied else 2)
    replicated = params - arch.layers * matrices - head  # norms, biases, positions, routers
    vocab = even_shards(arch.vocab, layout.tensor)
    return {
        "blocks": arch.layers * total,
        "outside": head / vocab / fsdp + replicated,
    }
