"""Assigns devices and rows of a batch to the processes of a job."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

from scalax.array_types import Int, Shaped
from scalax.train.mesh import Sizes, mesh_sizes


def usable_devices(sizes: Sizes, batch: int) -> list[Any]:
    """Returns the devices for a mesh: equally many of each process.

    Raises:
        ScalaxError: As `mesh_sizes`.

    Example:
        >>> len(usable_devices("auto", 8)) == max(
        ...     n for n in range(1, len(jax.devices()) + 1) if 8 % n == 0)
        True
    """
    processes = jax.process_count()
    by_process = [jax.local_devices(k) for k in range(processes)]
    most = min(map(len, by_process))
    devices = [device for local in by_process for device in local[:most]]
    count = math.prod(mesh_sizes(sizes, batch, devices, processes).values())
    return [device for local in by_process for device in local[: count // processes]]


def rows_here(sharding: NamedSharding, count: int) -> Int[np.ndarray, " rows"]:
    """Returns the rows of a leading axis that this process must provide, ascending.

    They follow from the position of its devices in the mesh: processes on one tensor axis read the
    same rows of a batch.

    Args:
        sharding: Sharding of the array.
        count: Rows of the whole array.
    """
    slices = sharding.addressable_devices_indices_map((count,)).values()
    parts = [np.arange(count)[index] for index in slices if index is not None]
    return np.unique(np.concatenate(parts))


def put(
    sharding: NamedSharding,
    count: int,
    rows: Int[np.ndarray, " rows"],
    values: Shaped[np.ndarray, "rows ..."],
) -> Shaped[jax.Array, "count ..."]:
    """Returns a global array from the rows that this process read.

    Args:
        sharding: Sharding of the array.
        count: Rows of the whole array: examples of a batch, or runs of an ensemble.
        rows: Result of `rows_here`.
        values: Values of those rows.
    """
    shape = (count, *values.shape[1:])

    def read(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        start, stop, _ = index[0].indices(count)
        first = int(np.searchsorted(rows, start))
        return values[(slice(first, first + stop - start), *index[1:])]

    return jax.make_array_from_callback(shape, sharding, read)
