"""The device mesh: which named axes, of which sizes, and how arrays lie on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scalax.errors import ScalaxError, suggest

AXES = ("data", "fsdp", "tensor", "expert")
BATCH_AXES = ("data", "fsdp", "expert")


def make_mesh(
    sizes: Mapping[str, int] | Literal["auto"], batch: int, devices: list[Any] | None = None
) -> Mesh:
    """A mesh over the devices.

    ``auto`` uses the largest number of devices that divides the batch, all on the data axis: the
    batch never depends on the devices. Given sizes must multiply to at most the devices there.

    Args:
        sizes: Devices along each axis; axes left out are 1.
        batch: Examples in a batch.
        devices: To use; all of them by default.

    Raises:
        ScalaxError: An axis is unknown, or the sizes do not fit the devices or the batch.
    """
    there = devices if devices is not None else jax.devices()
    if sizes == "auto":
        count = max(n for n in range(1, len(there) + 1) if batch % n == 0)
        shape = {"data": count}
    else:
        shape = dict(sizes)
        for axis in shape:
            if axis not in AXES:
                raise ScalaxError("unknown axis", where=f"mesh.{axis}", fix=suggest(axis, AXES))
    count = math.prod(shape.values())
    if count > len(there):
        raise ScalaxError(
            f"needs {count} devices, and {len(there)} are there",
            where=f"train.mesh {shape}",
            fix='write mesh = "auto"',
        )
    across = math.prod(shape.get(axis, 1) for axis in BATCH_AXES)
    if batch % across:
        raise ScalaxError(
            f"a batch of {batch} does not divide among {across} devices",
            where=f"train.mesh {shape}",
            fix='write mesh = "auto", or another batch',
        )
    return jax.make_mesh(
        tuple(shape.get(axis, 1) for axis in AXES),
        AXES,
        axis_types=(AxisType.Auto,) * len(AXES),
        devices=there[:count],
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Examples divided over the batch axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def serial_calls(mesh: Mesh) -> bool:
    """Whether at most one call may be in flight: several CPU devices deadlock with more."""
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def where_it_divides(place: NamedSharding, shape: tuple[int, ...]) -> NamedSharding:
    """The sharding, with each dimension that its axes do not divide evenly kept whole.

    A parameter of three heads lies whole on both devices of tensor = 2, as norms do everywhere.
    """
    parts: list[Any] = []
    for size, axes in zip(shape, tuple(place.spec) + (None,) * len(shape), strict=False):
        names = (axes,) if isinstance(axes, str) else tuple(axes or ())
        across = math.prod(place.mesh.shape[name] for name in names)
        parts.append(axes if size % across == 0 else None)
    return NamedSharding(place.mesh, PartitionSpec(*parts))
