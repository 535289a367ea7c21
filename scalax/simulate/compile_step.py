"""The real train step through the TPU's own compiler, on a machine without a TPU.

It needs libtpu (the extra ``tpu``), which compiles for any slice it knows the topology of. Nothing
is run: what comes back is what the compiler says of memory.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError
from scalax.models.base import ModelFamily
from scalax.models.compute import Recompute
from scalax.shapes.base import DataSpec, Recipe

_QUIET = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
_CHIP = {"v4": {"chip_config_name": "megacore"}}
"""As Cloud TPU runs them: both cores of a v4 chip are one device."""
_SIZE = r"([\d.]+)([KMG])"


@dataclass(frozen=True)
class Compiled:
    """What the compiler said of a train step.

    Attributes:
        fits: Whether it fits in the memory of its devices.
        bytes_per_device: Most bytes in use at once on a device, the program's own among them;
            where it does not fit, those that it would need.
        limit: Bytes that the compiler has on a device; None where the step fits, since then it
            does not say.
        devices: Devices that it was compiled for.
        chips: Chips that these are on: tpu7x makes two devices a chip.
        kernels: Pallas kernels in the program, by name; empty where it does not fit.
    """

    fits: bool
    bytes_per_device: int
    limit: int | None
    devices: int
    chips: int
    kernels: tuple[str, ...]

    @property
    def bytes_per_chip(self) -> int:
        """As ``bytes_per_device``, over the devices of a chip."""
        return self.bytes_per_device * self.devices // self.chips

    @property
    def over(self) -> int:
        """Bytes by which a device's memory is too small; 0 where the step fits."""
        return 0 if self.limit is None else self.bytes_per_device - self.limit


def tpu_devices(topology: str, slices: int = 1) -> list[Any]:
    """The devices of a TPU slice that is not here, to make a mesh of.

    Args:
        topology: Generation and chips along each axis, as ``v5e:4x4`` or ``v5p:4x4x8``.
        slices: How many of them, joined by the data-centre network.

    Raises:
        ScalaxError: libtpu is missing, or knows no such topology.

    Example:
        ``tpu_devices("v5p:4x4x8")`` has 128 devices, ``tpu_devices("v5e:16x16", 2)`` has 512.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(
            platform="tpu",
            topology_name=topology,
            num_slices=slices,
            **_CHIP.get(topology.partition(":")[0], {}),
        )
    except Exception as error:  # libtpu words this as RuntimeError, ValueError or a JAX error
        raise ScalaxError(
            f"no such topology: {str(error).splitlines()[0]}",
            where=f"topology {topology!r}",
            fix="write v5e:4x4, v5p:4x4x8 or v6e:4x4; libtpu comes with pip install 'jax[tpu]'",
        ) from None
    return list(found.devices)


def compile_step(
    family: ModelFamily,
    shape: Any,
    data: DataSpec,
    *,
    devices: list[Any],
    mesh: Mapping[str, int],
    batch: int,
    precision: str = "bf16",
    recompute: Recompute = "full",
    accumulate: int = 1,
) -> Compiled:
    """Compiles a train step for devices that need not be here.

    Args:
        family: The model family.
        shape: Its architecture.
        data: What a batch holds.
        devices: As `tpu_devices` gives.
        mesh: Devices along each axis.
        batch: Examples in a batch.
        precision: ``f32`` or ``bf16``.
        recompute: What the backward pass computes again.
        accumulate: Parts that a batch is computed in.

    Returns:
        The memory it takes, or by how much it does not fit.

    Raises:
        ScalaxError: The mesh does not suit the devices or the batch.
    """
    import jax
    import numpy as np

    from scalax.train.mesh import batch_sharding, make_mesh
    from scalax.train.program import Program
    from scalax.train.schedule import SCHEDULE

    made = make_mesh(mesh, batch // accumulate, devices)
    recipe = Recipe(batch=batch, learning_rate=1.0)
    program = Program(
        family, shape, recipe, precision, made, recompute=recompute, accumulate=accumulate
    )
    place = batch_sharding(made)
    examples = {
        name: jax.ShapeDtypeStruct((batch, *feature.shape), feature.dtype, sharding=place)
        for name, feature in data.features.items()
    }
    examples["mask"] = jax.ShapeDtypeStruct((batch,), np.float32, sharding=place)
    lowered = program.lower_step(examples, dict.fromkeys(SCHEDULE, np.float32(1)))
    chips = len({(getattr(d, "slice_index", 0), *d.coords) for d in made.devices.flat})
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        given = sum(map(_bytes_on_one, jax.tree.leaves((program.abstract(), examples))))
        needs = _overflow(str(error), given)
        if needs is None:
            raise
        return Compiled(False, *needs, made.size, chips, ())
    kernels = re.findall(
        r"%(\w+)[.\d]* = .*custom_call_target=\"tpu_custom_call\"", compiled.as_text()
    )
    peak = int(compiled.memory_analysis().peak_memory_in_bytes)
    return Compiled(True, peak, None, made.size, chips, tuple(sorted(set(kernels))))


def _bytes_on_one(leaf: Any) -> int:
    """Bytes of an array that one of its devices holds."""
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def _overflow(text: str, given: int) -> tuple[int, int] | None:
    """Bytes needed and bytes there, from the compiler's own words; None for another error.

    It names either all that the program uses, or, where they alone are too many, the bytes of
    its temporaries; those of its arguments, ``given``, come on top.
    """
    if "RESOURCE_EXHAUSTED" not in text:
        return None
    if found := re.search(rf"Used {_SIZE} of {_SIZE} hbm", text):
        return _bytes(*found.group(1, 2)), _bytes(*found.group(3, 4))
    if found := re.search(rf"temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)", text):
        return _bytes(*found.group(1, 2)) + given, _bytes(*found.group(3, 4))
    return None


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * {"K": 2**10, "M": 2**20, "G": 2**30}[unit])
