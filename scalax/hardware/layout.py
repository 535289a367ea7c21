"""How a step is divided: the mesh, how each matrix lies on it, and its place on the network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from scalax.errors import ScalaxError, suggest
from scalax.hardware.slices import Slice
from scalax.shapes.architecture import Architecture

AXES = ("data", "fsdp", "tensor", "expert")


@dataclass(frozen=True)
class Layout:
    """Devices along each axis of the mesh.

    Attributes:
        data: Copies of everything, each with its part of the batch.
        fsdp: Parts of every parameter and of the batch; parameters are gathered where used.
        tensor: Parts of heads, MLPs and vocabulary; activations are summed over them.
        expert: Parts of the experts, and of the batch.
    """

    data: int = 1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1

    @property
    def devices(self) -> int:
        """Devices in the mesh."""
        return self.data * self.fsdp * self.tensor * self.expert

    @property
    def batch_parts(self) -> int:
        """Parts that the examples of a batch are divided into."""
        return self.data * self.fsdp * self.expert

    def to_json(self) -> dict[str, int]:
        """Sizes by axis, without those of 1 (but at least one axis)."""
        sizes = {axis: getattr(self, axis) for axis in AXES if getattr(self, axis) > 1}
        return sizes or {"data": 1}

    def __str__(self) -> str:
        return ",".join(f"{axis}={size}" for axis, size in self.to_json().items())


def parse_mesh(text: str) -> Layout:
    """A mesh as written on the command line.

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


def check_layout(layout: Layout, slice_: Slice, arch: Architecture) -> None:
    """Refuses a mesh that the slice or the architecture cannot be divided by.

    Raises:
        ScalaxError: With meshes that would work.
    """

    def refuse(message: str) -> None:
        near = ", ".join(map(str, itertools.islice(_suggestions(layout, slice_, arch), 4)))
        raise ScalaxError(
            message,
            where=f"--mesh {layout}",
            fix=f"write one of {near}" if near else "choose another slice",
        )

    if layout.devices != slice_.devices:
        unit = "devices, two a chip" if slice_.chip.cores == 2 else "chips"
        refuse(f"makes {layout.devices} parts, and {slice_.name} has {slice_.devices} {unit}")
    if layout.data % slice_.slices and layout.fsdp % slice_.slices:
        refuse(f"neither data nor fsdp divides into {slice_.slices} slices")
    if arch.experts % layout.expert:
        refuse(f"{arch.experts} experts do not divide into {layout.expert} parts")
    if layout.tensor > 1 and arch.hidden % layout.tensor:
        refuse(f"an MLP of {arch.hidden} does not divide into {layout.tensor} parts")
    if arch.width % layout.fsdp:
        refuse(f"a width of {arch.width} does not divide into {layout.fsdp} parts")


def layouts(slice_: Slice, arch: Architecture) -> list[Layout]:
    """Every mesh of powers of two (and the slice's own odd factor) that scalax's trainer takes.

    There the data axis alone crosses slices; published programs also cross with fsdp, which
    `check_layout` lets a person ask about.
    """
    found = []
    devices = slice_.devices
    for tensor, expert in itertools.product(_divisors(devices, 64), _divisors(devices, 64)):
        if devices % (tensor * expert) or arch.hidden % tensor or arch.experts % expert:
            continue
        rest = devices // tensor // expert
        for fsdp in _divisors(rest, rest):
            layout = Layout(rest // fsdp, fsdp, tensor, expert)
            if arch.width % fsdp == 0 and layout.data % slice_.slices == 0:
                found.append(layout)
    return found


def _suggestions(wanted: Layout, slice_: Slice, arch: Architecture) -> list[Layout]:
    """Working meshes, those most like the wanted one first."""

    def distance(layout: Layout) -> float:
        return sum(abs(math.log(getattr(layout, a) / getattr(wanted, a))) for a in AXES)

    return sorted(layouts(slice_, arch), key=distance)


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]


@dataclass(frozen=True)
class Matrix:
    """A weight matrix of a block, or the head.

    Attributes:
        inputs: Rows: what is summed over.
        outputs: Columns.
        parts: Parts that `tensor` divides it into; 1 where it does not divide evenly.
        sums: Whether those are parts of the inputs, so that results are summed over them.
        copies: How many there are of it in a block, all on one device (query, key and value are
            three; experts are counted by what a token uses).
    """

    inputs: int
    outputs: int
    parts: int
    sums: bool
    copies: float = 1.0


def block_matrices(arch: Architecture, layout: Layout) -> dict[str, Matrix]:
    """The matrices of a block by name, as one token meets them."""

    def parts(count: int) -> int:
        return layout.tensor if count % layout.tensor == 0 else 1

    heads = arch.heads * arch.head_dim
    kv = arch.kv_heads * arch.head_dim
    used = float(arch.experts_per_token)
    mlp = parts(arch.hidden)
    return {
        "query": Matrix(arch.width, heads, parts(arch.heads), False),
        "key_value": Matrix(arch.width, kv, parts(arch.kv_heads), False, 2.0),
        "out": Matrix(heads, arch.width, parts(arch.heads), True),
        "up": Matrix(arch.width, arch.hidden, mlp, False, used * (2.0 if arch.gated else 1.0)),
        "down": Matrix(arch.hidden, arch.width, mlp, True, used),
    }


def stored_params(arch: Architecture, layout: Layout) -> Mapping[str, float]:
    """Parameters that one device holds: ``blocks`` and ``outside`` of them.

    Each matrix is divided by fsdp along the width and by tensor along heads, MLP or vocabulary,
    where these divide evenly, and lies whole otherwise; norms and biases always lie whole.
    """
    fsdp = layout.fsdp if arch.width % layout.fsdp == 0 else 1
    experts = layout.expert if arch.experts % layout.expert == 0 else 1
    per_expert = arch.experts / experts / arch.experts_per_token
    total = 0.0
    for name, matrix in block_matrices(arch, layout).items():
        count = matrix.copies * (per_expert if name in ("up", "down") else 1.0)
        total += count * matrix.inputs * matrix.outputs / matrix.parts / fsdp
    counts = arch.counts()
    matrices = arch.attention_params + arch.experts * arch.expert_params
    head = arch.vocab * arch.width * (1 if arch.tied else 2)
    small = counts.params - arch.layers * matrices - head  # norms, biases, positions, routers
    vocab = layout.tensor if arch.vocab % layout.tensor == 0 else 1
    return {
        "blocks": arch.layers * total,
        "outside": head / vocab / fsdp + small,
    }
