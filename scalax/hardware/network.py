"""Seconds that collectives take on a torus, within and between nodes of GPUs, and across slices.

The counting is that of rings: a device receives what it lacks over all links that its axis spans.
An axis of a torus that closes to a ring carries data both ways round; a line only one way.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from scalax.hardware.layout import Layout
from scalax.hardware.slices import Slice

_HOP_SECONDS = 1e-6
"""Latency of a hop; of little weight above a megabyte."""


@dataclass(frozen=True)
class Axis:
    """One axis of the mesh, as it lies on the network.

    Attributes:
        size: Devices along it.
        inside: Those of them within a slice (or within a node of GPUs).
        bandwidth: Bytes/s at which a device receives from the others within.
        outside: Bytes/s that a device sends to another slice or node, its share of the network.
    """

    size: int
    inside: int
    bandwidth: float
    outside: float

    def gather(self, size: float) -> float:
        """Seconds to gather an array of so many bytes, held in equal parts along the axis."""
        if self.size == 1:
            return 0.0
        across = self.size // self.inside
        time = size * (self.inside - 1) / self.inside / self.bandwidth + self._hops()
        if across > 1:  # each fetches its own counterparts, then all share within
            time += size / self.inside * (across - 1) / across / self.outside
        return time

    def reduce_scatter(self, size: float) -> float:
        """Seconds to sum arrays of so many bytes along the axis, each keeping a part."""
        return self.gather(size)

    def all_reduce(self, size: float) -> float:
        """Seconds to sum arrays of so many bytes along the axis, each keeping all of it."""
        return 2 * self.gather(size)

    def all_to_all(self, size: float) -> float:
        """Seconds to exchange all parts of an array of so many bytes, held in equal parts."""
        if self.size == 1:
            return 0.0
        across = self.size // self.inside
        within = size * (self.inside - 1) / self.inside / self.bandwidth / 4 + self._hops()
        return within + size / self.size * (across - 1) / across / self.outside

    def _hops(self) -> float:
        return _HOP_SECONDS * self.size


def place(layout: Layout, slice_: Slice) -> dict[str, Axis]:
    """Each axis of the mesh on the network, the most talkative axes on the best wires.

    On a torus an axis takes whole axes of the slice where their sizes multiply to it, and shares
    one otherwise. Between slices lies data, or fsdp where data does not divide.
    """
    chip, share = slice_.chip, slice_.chip.achieved.network
    sizes = {name: getattr(layout, name) for name in ("tensor", "expert", "fsdp", "data")}
    across = dict.fromkeys(sizes, 1)
    if slice_.slices > 1:
        name = "data" if layout.data % slice_.slices == 0 else "fsdp"
        across[name] = slice_.slices
    outside = share * chip.dcn_bandwidth / chip.cores
    if chip.topology in ("nvlink", "host"):
        return _on_nodes(sizes, slice_, share, outside)
    free = [
        (length, 2 * chip.link_bandwidth if _ring(length, slice_) else chip.link_bandwidth)
        for length in slice_.shape
        if length > 1
    ]
    if chip.cores == 2:  # two devices on one chip talk without a link
        free.append((2, 4 * chip.link_bandwidth))
    found = {}
    for name, size in sizes.items():
        inside = size // across[name]
        speed, free = _take(inside, free)
        found[name] = Axis(size, inside, share * max(speed, 1.0) / chip.cores, outside)
    return found


def _ring(length: int, slice_: Slice) -> bool:
    return slice_.chip.wraps > 0 and length % slice_.chip.wraps == 0


def _take(size: int, free: list[tuple[int, float]]) -> tuple[float, list[tuple[int, float]]]:
    """Wires for an axis of a size: their bytes/s together, and those left."""
    if size == 1:
        return 0.0, free
    for count in range(1, len(free) + 1):  # whole axes: as few as do
        for chosen in itertools.combinations(range(len(free)), count):
            if math.prod(free[k][0] for k in chosen) == size:
                left = [axis for k, axis in enumerate(free) if k not in chosen]
                return sum(free[k][1] for k in chosen), left
    speed, rest, left = 0.0, size, []
    for length, wire in sorted(free, reverse=True):
        shared = math.gcd(rest, length)
        if shared == 1:
            left.append((length, wire))
            continue
        whole = shared == length
        speed += wire if whole else wire / 2  # a part of a ring is a line
        rest //= shared
        if not whole:
            left.append((length // shared, wire / 2))
    return speed, left


def _on_nodes(
    sizes: dict[str, int], slice_: Slice, share: float, outside: float
) -> dict[str, Axis]:
    """GPUs: the most talkative axes within a node; every GPU has its own way to the network."""
    room = min(slice_.chip.node, slice_.chips_per_slice)
    found = {}
    for name, size in sizes.items():
        inside = math.gcd(size, room)
        room //= inside
        found[name] = Axis(size, inside, share * slice_.chip.link_bandwidth, outside)
    return found
