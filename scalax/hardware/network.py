"""Models the seconds of collectives on a torus, in and between nodes of GPUs, and across slices.

Collectives run on rings: a device receives the data it lacks over all links that its mesh axis
spans. A torus axis that closes to a ring carries data in both directions, a line in one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from scalax.hardware.layout import Layout
from scalax.hardware.slices import Slice

_HOP_SECONDS = 1e-6
"""Latency of a hop in seconds; negligible for arrays above a megabyte."""


@dataclass(frozen=True)
class Axis:
    """One axis of the mesh with its share of the network.

    Attributes:
        size: Number of devices along the axis.
        inside: Number of those that are in one slice (or in one node of GPUs).
        bandwidth: Bytes/s that a device receives from the devices inside.
        outside: Bytes/s that a device sends to other slices or nodes.
    """

    size: int
    inside: int
    bandwidth: float
    outside: float

    def gather(self, size: float) -> float:
        """Returns the seconds to gather an array of ``size`` bytes, sharded along the axis."""
        if self.size == 1:
            return 0.0
        across = self.size // self.inside
        time = size * (self.inside - 1) / self.inside / self.bandwidth + self._hops()
        if across > 1:
            # Each device fetches its shard from the other slices, then all exchange inside.
            time += size / self.inside * (across - 1) / across / self.outside
        return time

    def reduce_scatter(self, size: float) -> float:
        """Returns the seconds to sum arrays of ``size`` bytes; each device keeps one shard."""
        return self.gather(size)

    def all_reduce(self, size: float) -> float:
        """Returns the seconds to sum arrays of ``size`` bytes; each device keeps the whole sum."""
        return 2 * self.gather(size)

    def all_to_all(self, size: float) -> float:
        """Returns the seconds to exchange all shards of an array of ``size`` bytes."""
        if self.size == 1:
            return 0.0
        across = self.size // self.inside
        within = size * (self.inside - 1) / self.inside / self.bandwidth / 4 + self._hops()
        return within + size / self.size * (across - 1) / across / self.outside

    def _hops(self) -> float:
        return _HOP_SECONDS * self.size


def place_axes(layout: Layout, slice_: Slice) -> dict[str, Axis]:
    """Assigns network links to the mesh axes; the axes with most traffic get the fastest links.

    On a torus a mesh axis takes whole axes of the slice if their sizes multiply to its own, and
    shares one otherwise. The data axis crosses slices, or fsdp if the slices do not divide data.
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
    if chip.cores == 2:  # the two devices of a chip communicate without a link
        free.append((2, 4 * chip.link_bandwidth))
    axes = {}
    for name, size in sizes.items():
        inside = size // across[name]
        speed, free = _take_links(inside, free)
        axes[name] = Axis(size, inside, share * max(speed, 1.0) / chip.cores, outside)
    return axes


def _ring(length: int, slice_: Slice) -> bool:
    """Returns whether a slice axis closes to a ring."""
    return slice_.chip.wraps > 0 and length % slice_.chip.wraps == 0


def _take_links(size: int, free: list[tuple[int, float]]) -> tuple[float, list[tuple[int, float]]]:
    """Takes slice axes for a mesh axis; returns their bytes/s and the axes that are left."""
    if size == 1:
        return 0.0, free
    for count in range(1, len(free) + 1):  # as few whole axes as possible
        for chosen in itertools.combinations(range(len(free)), count):
            if math.prod(free[k][0] for k in chosen) == size:
                left = [axis for k, axis in enumerate(free) if k not in chosen]
                return sum(free[k][1] for k in chosen), left
    speed, rest, left = 0.0, size, []
    for length, link in sorted(free, reverse=True):
        shared = math.gcd(rest, length)
        if shared == 1:
            left.append((length, link))
            continue
        whole = shared == length
        speed += link if whole else link / 2  # a part of a ring is a line
        rest //= shared
        if not whole:
            left.append((length // shared, link / 2))
    return speed, left


def _on_nodes(
    sizes: dict[str, int], slice_: Slice, share: float, outside: float
) -> dict[str, Axis]:
    """Places the axes with most traffic inside a node; every GPU has its own network link."""
    room = min(slice_.chip.node, slice_.chips_per_slice)
    axes = {}
    for name, size in sizes.items():
        inside = math.gcd(size, room)
        room //= inside
        axes[name] = Axis(size, inside, share * slice_.chip.link_bandwidth, outside)
    return axes
