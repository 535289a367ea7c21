"""Which devices and which rows of a batch belong to which process of a job."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import NamedSharding

from scalax.errors import ScalaxError


def usable_devices(sizes: Mapping[str, int] | Literal["auto"], batch: int) -> list[Any]:
    """The devices to make a mesh of: as many from each process, since every one takes part.

    Raises:
        ScalaxError: The batch, or the mesh, does not divide among the processes.

    Example:
        >>> len(usable_devices("auto", 8)) == max(
        ...     n for n in range(1, len(jax.devices()) + 1) if 8 % n == 0)
        True
    """
    processes = jax.process_count()
    theirs = [jax.local_devices(k) for k in range(processes)]
    most = min(map(len, theirs))
    if sizes == "auto":
        counts = [n for n in range(1, most + 1) if batch % (n * processes) == 0]
        if not counts:
            raise ScalaxError(
                f"a batch of {batch} does not divide among {processes} processes",
                where="train.mesh",
                fix=f"give a batch that is a multiple of {processes}, or fewer processes",
            )
        return [device for some in theirs for device in some[: counts[-1]]]
    asked = math.prod(sizes.values())
    if asked % processes and asked <= most * processes:
        raise ScalaxError(
            f"{asked} devices do not divide among {processes} processes",
            where=f"train.mesh {dict(sizes)}",
            fix='write mesh = "auto", or sizes whose product is a multiple of the processes',
        )
    each = max(1, asked // processes)
    if asked > most * processes:
        each = most
    return [device for some in theirs for device in some[:each]]


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
