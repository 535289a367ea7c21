"""Which devices and which rows of a batch belong to which process of a job."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from scalax.train.mesh import Sizes, mesh_sizes


def usable_devices(sizes: Sizes, batch: int) -> list[Any]:
    """The devices to make a mesh of: as many from each process, since every one takes part.

    Raises:
        ScalaxError: As `mesh_sizes`.

    Example:
        >>> len(usable_devices("auto", 8)) == max(
        ...     n for n in range(1, len(jax.devices()) + 1) if 8 % n == 0)
        True
    """
    processes = jax.process_count()
    theirs = [jax.local_devices(k) for k in range(processes)]
    most = min(map(len, theirs))
    there = [device for some in theirs for device in some[:most]]
    count = math.prod(mesh_sizes(sizes, batch, there, processes).values())
    return [device for some in theirs for device in some[: count // processes]]


def rows_here(place: NamedSharding, count: int) -> np.ndarray:
    """The rows of a leading axis that this process must provide, ascending; [rows], int64.

    They follow from where the mesh put its devices: processes on one tensor axis read the same
    rows of a batch.
    """
    slices = place.addressable_devices_indices_map((count,)).values()
    parts = [np.arange(count)[where] for where in slices if where is not None]
    return np.unique(np.concatenate(parts))


def put(place: NamedSharding, count: int, rows: np.ndarray, values: np.ndarray) -> jax.Array:
    """An array over all processes from the rows that this one read.

    Args:
        place: How it lies.
        count: Rows in all: examples of a batch, or runs of an ensemble.
        rows: What `rows_here` gave.
        values: Those rows, [rows, ...].

    Returns:
        A global array, [count, ...].
    """
    shape = (count, *values.shape[1:])

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        start, stop, _ = index[0].indices(count)
        first = int(np.searchsorted(rows, start))
        return values[(slice(first, first + stop - start), *index[1:])]

    return jax.make_array_from_callback(shape, place, part)
