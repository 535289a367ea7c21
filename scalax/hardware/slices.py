"""Slices of accelerators as users name them: `v5e-256`, `v5p-128`, `2xv5e-256`, `h100-64`."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from scalax.errors import ScalaxError
from scalax.hardware.chips import Chip, Chips


@dataclass(frozen=True)
class Slice:
    """Chips that work together.

    Attributes:
        name: As the user wrote it, in lower case.
        kind: The chip's name.
        chip: What it can do.
        shape: Chips along each axis of one slice's network.
        slices: How many slices, joined by the data-centre network.
    """

    name: str
    kind: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chips_per_slice(self) -> int:
        """Chips in one slice."""
        return math.prod(self.shape)

    @property
    def chips(self) -> int:
        """Chips in all slices."""
        return self.slices * self.chips_per_slice

    @property
    def devices(self) -> int:
        """Devices as jax counts them: a chip may be two."""
        return self.chips * self.chip.cores

    @property
    def memory_limit(self) -> int:
        """Bytes that a program has on one device."""
        return self.chip.usable_bytes // self.chip.cores

    @property
    def usd_per_hour(self) -> float | None:
        """List price of all chips for an hour; None where none is known."""
        price = self.chip.usd_per_hour
        return None if price is None else price * self.chips

    @property
    def topology(self) -> str:
        """One slice as the TPU's compiler names it, such as ``v5e:4x4``."""
        return f"{self.chip.compile_name}:{'x'.join(map(str, self.shape))}"


def parse_slice(text: str, chips: Chips) -> Slice:
    """The slice of a name.

    Args:
        text: ``KIND-COUNT`` or ``SLICESxKIND-COUNT``; the count is of chips, or of TensorCores
            for v4 and v5p, as Google counts them. ``cpu`` is this machine, where it was measured.
        chips: Those known.

    Raises:
        ScalaxError: The form is wrong, the chip is unknown, or no such slice exists; says which
            are near.

    Example:
        >>> from scalax.hardware.chips import read_chips
        >>> parse_slice("v5p-128", read_chips()).shape
        (4, 4, 4)
        >>> parse_slice("2xv5e-256", read_chips()).chips
        512
    """
    low = text.strip().lower()
    if low == "cpu":  # all of this machine
        low = f"cpu-{chips.find(low)[1].most_chips}"
    found = re.fullmatch(r"(?:(\d+)x)?([a-z][a-z0-9]*?)-(\d+)", low)
    if found is None:
        kinds = ", ".join(chips.by_name)
        raise ScalaxError(
            f"expected KIND-COUNT, got {text!r}",
            where="--chips",
            fix=f"write v5e-256, 2xv5e-256 or h100-64; kinds: {kinds}",
        )
    slices = int(found[1] or 1)
    if slices < 1:
        raise ScalaxError(
            "expected 1 slice or more", where=f"--chips {text}", fix="write 2xv5e-256"
        )
    kind, chip = chips.find(found[2])
    per_name = 2 if chip.counted == "cores" else 1
    count = int(found[3])
    shape = _shape(chip, count // per_name) if count % per_name == 0 else None
    if shape is None:
        near = ", ".join(f"{kind}-{n * per_name}" for n in _near(chip, count / per_name))
        unit = "TensorCores, two a chip" if per_name == 2 else "chips"
        raise ScalaxError(
            f"no {kind} slice has {count} {unit}",
            where=f"--chips {text}",
            fix=f"write one of {near}",
        )
    if slices > 1 and chip.topology == "host":
        raise ScalaxError("one machine alone is simulated", where=f"--chips {text}", fix="cpu-1")
    return Slice(low, kind, chip, shape, slices)


def _shape(chip: Chip, count: int) -> tuple[int, ...] | None:
    """How so many chips are wired; None where they are not sold so."""
    for text in chip.slices:
        shape = tuple(int(part) for part in text.split("x"))
        if math.prod(shape) == count:
            return shape
    if not 0 < count <= chip.most_chips:
        return None
    if chip.topology == "nvlink" and count % chip.node == 0:
        return (count,)
    if chip.topology == "3d-torus" and count % 64 == 0:
        return _cuboid(count // 64)
    return None


def _cuboid(cubes: int) -> tuple[int, ...] | None:
    """Cubes of 4x4x4 stacked as near to a cube as they go."""
    best = None
    for a in range(1, round(cubes ** (1 / 3)) + 1):
        if cubes % a:
            continue
        for b in range(a, math.isqrt(cubes // a) + 1):
            if cubes // a % b == 0:
                best = (a, b, cubes // a // b)  # grows more even with a, then with b
    return tuple(4 * side for side in best) if best else None


def _near(chip: Chip, count: float) -> list[int]:
    """The numbers of chips nearest to one that is not sold: three below and three above."""
    sold = {math.prod(int(part) for part in text.split("x")) for text in chip.slices}
    step = {"nvlink": chip.node, "3d-torus": 64}.get(chip.topology)
    if step:
        middle = round(count / step)
        sold |= {step * n for n in range(max(1, middle - 3), middle + 4)}
        sold |= {step * 2**k for k in range(20)}
    sold = {n for n in sold if n <= chip.most_chips and _shape(chip, n)}
    ordered = sorted(sold)
    above = list(itertools.islice((n for n in ordered if n >= count), 3))
    below = [n for n in ordered if n < count][-3:]
    return below + above
