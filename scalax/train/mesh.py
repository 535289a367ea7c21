"""The device mesh: which named axes, of which sizes, and how arrays lie on it."""

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
"""The axis that runs trained together are divided over; only the mesh of an ensemble has it."""


Sizes = Mapping[str, int | Literal["auto"]] | Literal["auto"]
"""Devices along each axis, those left out being 1; one may be ``auto``, or the whole."""


def mesh_sizes(
    sizes: Sizes, batch: int, devices: Sequence[Any], processes: int = 1
) -> dict[str, int]:
    """The number of devices along each axis, in the order of `AXES`.

    ``auto`` takes as many devices as divide what must be divided: the batch, for an axis that it
    lies on, the processes and the slices; alone, it is the data axis. The batch never depends on
    the devices.

    Args:
        sizes: As asked.
        batch: Examples in a batch.
        devices: Those there.
        processes: That must take part with equally many devices.

    Raises:
        ScalaxError: An axis is unknown, or the sizes fit neither the devices nor the batch.

    Example:
        >>> mesh_sizes({"fsdp": "auto", "tensor": 2}, 8, range(8))
        {'data': 1, 'fsdp': 4, 'tensor': 2, 'expert': 1}
    """
    asked: dict[str, Any] = {"data": "auto"} if sizes == "auto" else dict(sizes)
    where = "train.mesh" if sizes == "auto" else f"train.mesh {asked}"
    for axis in asked:
        if axis not in AXES:
            raise ScalaxError("unknown axis", where=f"mesh.{axis}", fix=suggest(axis, AXES))
    open_ = [axis for axis in asked if asked[axis] == "auto"]
    if len(open_) > 1:
        raise ScalaxError(f"{' and '.join(open_)} are auto, and one may be", where=where)
    shape = {axis: 1 if axis in open_ else asked.get(axis, 1) for axis in AXES}
    given = math.prod(shape.values())
    if given > len(devices):
        raise ScalaxError(
            f"needs {given} devices, and {len(devices)} are there",
            where=where,
            fix='write mesh = "auto"',
        )
    slices = len(by_slice(devices))
    for axis in open_:
        shape[axis] = max(
            (n for n in range(1, len(devices) // given + 1)
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
            f"{count} devices do not divide among {processes} processes, with a batch of {batch}",
            where=where,
            fix=f"give a batch, and a mesh of devices, that are multiples of {processes}",
        )
    if shape["data"] % slices:
        raise ScalaxError(
            f"a data axis of {shape['data']} does not divide among {slices} slices, and no other "
            "axis may cross the network between them",
            where=where,
            fix=f"write data = {slices}, or a multiple of it",
        )
    across = math.prod(shape[axis] for axis in BATCH_AXES)
    if batch % across:
        raise ScalaxError(
            f"a batch of {batch} does not divide among {across} devices",
            where=where,
            fix='write mesh = "auto", or another batch',
        )


def make_mesh(sizes: Sizes, batch: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over the devices, neighbours on an axis being neighbours on the network.

    Over several TPU slices the data axis alone crosses from one to another.

    Args:
        sizes: As `mesh_sizes` takes them.
        batch: Examples in a batch.
        devices: To use; all of them by default.

    Raises:
        ScalaxError: As `mesh_sizes`.
    """
    there = devices if devices is not None else jax.devices()
    shape = mesh_sizes(sizes, batch, there)
    slices = list(by_slice(there).values())
    each = math.prod(shape.values()) // len(slices)
    inside = (shape["data"] // len(slices), *list(shape.values())[1:])
    placed = mesh_utils.create_hybrid_device_mesh(
        inside,
        (len(slices), 1, 1, 1),
        [device for some in slices for device in some[:each]],
        allow_split_physical_axes=True,
    ) if len(slices) > 1 else mesh_utils.create_device_mesh(
        inside, slices[0][:each], allow_split_physical_axes=True
    )  # fmt: skip
    return Mesh(placed, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def by_slice(devices: Sequence[Any]) -> dict[int, list[Any]]:
    """The devices of each TPU slice; all in one where there is no such thing.

    A GPU's ``slice_index`` tells its host, which any axis may cross.
    """
    found: dict[int, list[Any]] = {}
    for device in devices:
        on_tpu = getattr(device, "platform", None) == "tpu"
        found.setdefault(getattr(device, "slice_index", 0) if on_tpu else 0, []).append(device)
    return dict(sorted(found.items()))


def ensemble_mesh(members: int, devices: list[Any]) -> Mesh:
    """A mesh for runs that one program trains: as many on each device, no run on two.

    Args:
        members: How many runs.
        devices: To use; the largest number that divides the runs is taken.
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
    """Examples divided over the batch axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def of_each(place: NamedSharding) -> NamedSharding:
    """How an array lies with a leading axis of runs: those on one device lie as one would."""
    return NamedSharding(place.mesh, PartitionSpec(ENSEMBLE, *place.spec))


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
