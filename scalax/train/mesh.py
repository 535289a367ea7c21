"""The device mesh: its named axes, their sizes, and the sharding of arrays over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scalax.errors import ScalaxError, suggest

AXES = ("data", "fsdp", "tensor", "expert")
BATCH_AXES = ("data", "fsdp", "expert")
ENSEMBLE = "ensemble"
"""The axis over which the runs of an ensemble are divided; only its mesh has this axis."""

Sizes = Mapping[str, int | Literal["auto"]] | Literal["auto"]
"""Devices along each axis, 1 by default. One axis may be ``auto``, or the whole value."""


def mesh_sizes(
    sizes: Sizes, batch: int, devices: Sequence[Any], processes: int = 1
) -> dict[str, int]:
    """Returns the number of devices along each axis, in the order of `AXES`.

    An ``auto`` axis gets the largest number of devices for which the batch (for a batch axis), the
    processes and the slices divide evenly. ``auto`` for the whole value means the data axis. The
    batch never depends on the devices.

    Args:
        sizes: The user's setting.
        batch: Examples in a batch.
        devices: Available devices.
        processes: Number of processes, which must contribute equally many devices.

    Raises:
        ScalaxError: An axis is unknown, or the sizes do not suit the devices or the batch.

    Example:
        >>> mesh_sizes({"fsdp": "auto", "tensor": 2}, 8, range(8))
        {'data': 1, 'fsdp': 4, 'tensor': 2, 'expert': 1}
    """
    requested: dict[str, Any] = {"data": "auto"} if sizes == "auto" else dict(sizes)
    where = "train.mesh" if sizes == "auto" else f"train.mesh {requested}"
    for axis in requested:
        if axis not in AXES:
            raise ScalaxError("unknown axis", where=f"mesh.{axis}", fix=suggest(axis, AXES))
    auto = [axis for axis in requested if requested[axis] == "auto"]
    if len(auto) > 1:
        raise ScalaxError(
            f"expected at most one auto axis, got {' and '.join(auto)}",
            where=where,
            fix="write a number for all but one of them",
        )
    shape = {axis: 1 if axis in auto else requested.get(axis, 1) for axis in AXES}
    fixed = math.prod(shape.values())
    if fixed > len(devices):
        raise ScalaxError(
            f"needs {fixed} devices, but only {len(devices)} are available",
            where=where,
            fix='write mesh = "auto"',
        )
    slices = len(by_slice(devices))
    for axis in auto:
        shape[axis] = max(
            (n for n in range(1, len(devices) // fixed + 1)
             if _fits(shape | {axis: n}, batch, processes, slices)),
            default=1,
        )  # fmt: skip
    _check_sizes(shape, batch, processes, slices, where)
    return shape


def _fits(shape: Mapping[str, int], batch: int, processes: int, slices: int) -> bool:
    divided = math.prod(shape[axis] for axis in BATCH_AXES)
    count = math.prod(shape.values())
    return not (batch % divided or count % processes or shape["data"] % slices)


def _check_sizes(
    shape: Mapping[str, int], batch: int, processes: int, slices: int, where: str
) -> None:
    count = math.prod(shape.values())
    if count % processes:
        raise ScalaxError(
            f"cannot divide {count} devices among {processes} processes with a batch of {batch}",
            where=where,
            fix=f"choose a batch and a number of devices that are multiples of {processes}",
        )
    if shape["data"] % slices:
        raise ScalaxError(
            f"cannot divide a data axis of {shape['data']} among {slices} slices (only the data "
            "axis may cross the network between slices)",
            where=where,
            fix=f"write data = {slices}, or a multiple of it",
        )
    across = math.prod(shape[axis] for axis in BATCH_AXES)
    if batch % across:
        raise ScalaxError(
            f"cannot divide a batch of {batch} among {across} devices",
            where=where,
            fix=f'write mesh = "auto", or a batch that is a multiple of {across}',
        )


def make_mesh(sizes: Sizes, batch: int, devices: Sequence[Any] | None = None) -> Mesh:
    """Returns a mesh in which neighbours along an axis are neighbours on the network.

    Of several TPU slices, only the data axis spans more than one.

    Args:
        sizes: As in `mesh_sizes`.
        batch: Examples in a batch.
        devices: Devices to use; all devices by default.

    Raises:
        ScalaxError: As `mesh_sizes`.
    """
    devices = devices if devices is not None else jax.devices()
    shape = mesh_sizes(sizes, batch, devices)
    slices = list(by_slice(devices).values())
    per_slice = math.prod(shape.values()) // len(slices)
    inner = (shape["data"] // len(slices), *list(shape.values())[1:])
    grid = mesh_utils.create_hybrid_device_mesh(
        inner,
        (len(slices), 1, 1, 1),
        [device for group in slices for device in group[:per_slice]],
        allow_split_physical_axes=True,
    ) if len(slices) > 1 else mesh_utils.create_device_mesh(
        inner, slices[0][:per_slice], allow_split_physical_axes=True
    )  # fmt: skip
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def by_slice(devices: Sequence[Any]) -> dict[int, list[Any]]:
    """Returns the devices of each TPU slice. Other devices count as one slice.

    The ``slice_index`` of a GPU is its host, and any axis may span several hosts.
    """
    slices: dict[int, list[Any]] = {}
    for device in devices:
        on_tpu = getattr(device, "platform", None) == "tpu"
        slices.setdefault(getattr(device, "slice_index", 0) if on_tpu else 0, []).append(device)
    return dict(sorted(slices.items()))


def ensemble_mesh(members: int, devices: list[Any]) -> Mesh:
    """Returns a mesh for an ensemble: equally many runs on each device, each run on one device.

    Args:
        members: Number of runs.
        devices: Devices to use: the largest number of them that divides the runs.
    """
    count = max(n for n in range(1, len(devices) + 1) if members % n == 0)
    names = (ENSEMBLE, *AXES)
    return jax.make_mesh(
        (count, *(1 for _ in AXES)),
        names,
        axis_types=(AxisType.Auto,) * len(names),
        devices=devices[:count],
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: examples divided over the batch axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def ensemble_sharding(sharding: NamedSharding) -> NamedSharding:
    """Returns the sharding of an array with a leading axis of runs, from that of a single run."""
    return NamedSharding(sharding.mesh, PartitionSpec(ENSEMBLE, *sharding.spec))


def serial_calls(mesh: Mesh) -> bool:
    """Returns whether only one call may be in flight: several CPU devices deadlock with more."""
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def replicate_indivisible(sharding: NamedSharding, shape: tuple[int, ...]) -> NamedSharding:
    """Returns the sharding without the axes that do not divide their dimension evenly.

    For example, a parameter with three heads is replicated on both devices of ``tensor = 2``.
    """
    parts: list[Any] = []
    for size, axes in zip(shape, tuple(sharding.spec) + (None,) * len(shape), strict=False):
        names = (axes,) if isinstance(axes, str) else tuple(axes or ())
        across = math.prod(sharding.mesh.shape[name] for name in names)
        parts.append(axes if size % across == 0 else None)
    return NamedSharding(sharding.mesh, PartitionSpec(*parts))
