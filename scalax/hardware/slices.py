"""Parses names of accelerator slices: `v5e-256`, `v5p-128`, `2xv5e-256`, `h100-64`."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from scalax.errors import ScalaxError
from scalax.hardware.chips import Chip, Chips


@dataclass(frozen=True)
class Slice:
    """A set of chips that train together.

    Attributes:
        name: The user's text in lower case.
        kind: Name of the chip.
        chip: The chip.
        shape: Number of chips along each network axis of one slice.
        slices: Number of slices, connected by the data-centre network.
    """

    name: str
    kind: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chips_per_slice(self) -> int:
        """Number of chips in one slice."""
        return math.prod(self.shape)

    @property
    def chips(self) -> int:
        """Number of chips in all slices."""
        return self.slices * self.chips_per_slice

    @property
    def devices(self) -> int:
        """Number of JAX devices; a chip can be two."""
        return self.chips * self.chip.cores

    @property
    def memory_limit(self) -> int:
        """Bytes available to a program on one device."""
        return self.chip.usable_bytes // self.chip.cores

    @property
    def usd_per_hour(self) -> float | None:
        """List price of all chips per hour, or None if it is unknown."""
        price = self.chip.usd_per_hour
        return None if price is None else price * self.chips

    @property
    def topology(self) -> str:
        """The TPU compiler's name of one slice, such as ``v5e:4x4``."""
        return f"{self.chip.compile_name}:{'x'.join(map(str, self.shape))}"


def parse_slice(text: str, chips: Chips) -> Slice:
    """Returns the slice with a name.

    Args:
        text: ``KIND-COUNT`` or ``SLICESxKIND-COUNT``. The count is in chips, or in TensorCores
            for v4 and v5p, as in Google's names. ``cpu`` is this machine once it is calibrated.
        chips: The known chips.

    Raises:
        ScalaxError: The format is wrong, the chip is unknown, or no such slice exists; the fix
            lists the nearest slices.

    Example:
        >>> from scalax.hardware.chips import read_chips
        >>> parse_slice("v5p-128", read_chips()).shape
        (4, 4, 4)
        >>> parse_slice("2xv5e-256", read_chips()).chips
        512
    """
    low = text.strip().lower()
    if low == "cpu":  # all devices of this machine
        low = f"cpu-{chips.find(low)[1].most_chips}"
    match = re.fullmatch(r"(?:(\d+)x)?([a-z][a-z0-9]*?)-(\d+)", low)
    if match is None:
        kinds = ", ".join(chips.by_name)
        raise ScalaxError(
            f"expected KIND-COUNT, got {text!r}",
            where="--chips",
            fix=f"write v5e-256, 2xv5e-256 or h100-64; kinds: {kinds}",
        )
    slices = int(match[1] or 1)
    if slices < 1:
        raise ScalaxError(
            f"expected 1 slice or more, got {slices}",
            where=f"--chips {text}",
            fix="write 2xv5e-256",
        )
    kind, chip = chips.find(match[2])
    per_name = 2 if chip.counted == "cores" else 1
    count = int(match[3])
    shape = _shape(chip, count // per_name) if count % per_name == 0 else None
    if shape is None:
        near = ", ".join(f"{kind}-{n * per_name}" for n in _near(chip, count / per_name))
        unit = "TensorCores (two per chip)" if per_name == 2 else "chips"
        raise ScalaxError(
            f"no {kind} slice has {count} {unit}",
            where=f"--chips {text}",
            fix=f"write one of {near}",
        )
    if slices > 1 and chip.topology == "host":
        raise ScalaxError(
            "only one machine can be simulated", where=f"--chips {text}", fix="write cpu"
        )
    return Slice(low, kind, chip, shape, slices)


def _shape(chip: Chip, count: int) -> tuple[int, ...] | None:
    """Returns the network shape of a number of chips, or None if no such slice exists."""
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
    """Returns the most cubic arrangement of 4x4x4 cubes."""
    best = None
    for a in range(1, round(cubes ** (1 / 3)) + 1):
        if cubes % a:
            continue
        for b in range(a, math.isqrt(cubes // a) + 1):
            if cubes // a % b == 0:
                best = (a, b, cubes // a // b)  # later candidates are more cubic
    return tuple(4 * side for side in best) if best else None


def _near(chip: Chip, count: float) -> list[int]:
    """Returns the nearest existing numbers of chips: three below and three above."""
    sizes = {math.prod(int(part) for part in text.split("x")) for text in chip.slices}
    step = {"nvlink": chip.node, "3d-torus": 64}.get(chip.topology)
    if step:
        middle = round(count / step)
        sizes |= {step * n for n in range(max(1, middle - 3), middle + 4)}
        sizes |= {step * 2**k for k in range(20)}
    sizes = {n for n in sizes if n <= chip.most_chips and _shape(chip, n)}
    ordered = sorted(sizes)
    above = list(itertools.islice((n for n in ordered if n >= count), 3))
    below = [n for n in ordered if n < count][-3:]
    return below + above
