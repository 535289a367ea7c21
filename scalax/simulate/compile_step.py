"""Compiles scalax's train step with the TPU's compiler, on a machine without a TPU.

It needs libtpu (the extra ``tpu``), which compiles for every slice whose topology it knows. It runs
nothing and returns the memory that the compiler reports.
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

_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
_CHIP_OPTIONS = {"v4": {"chip_config_name": "megacore"}}
"""Options of a generation, as on Cloud TPU: both cores of a v4 chip are one device."""
_SIZE = r"([\d.]+)([KMG])"


@dataclass(frozen=True)
class CompiledStep:
    """The compiler's report on a train step.

    Attributes:
        fits: Whether the step fits in the memory of its devices.
        bytes_per_device: Peak bytes on a device, including the program; the bytes it would need
            if it does not fit.
        limit: Bytes available on a device; None if the step fits, when the compiler does not
            report it.
        devices: Number of devices it was compiled for.
        chips: Number of chips with these devices; a tpu7x chip has two.
        kernels: Names of the Pallas kernels in the program; empty if it does not fit.
    """

    fits: bool
    bytes_per_device: int
    limit: int | None
    devices: int
    chips: int
    kernels: tuple[str, ...]

    @property
    def bytes_per_chip(self) -> int:
        """Peak bytes of all devices of a chip."""
        return self.bytes_per_device * self.devices // self.chips

    @property
    def over(self) -> int:
        """Bytes missing on a device; 0 if the step fits."""
        return 0 if self.limit is None else self.bytes_per_device - self.limit


def tpu_devices(topology: str, slices: int = 1) -> list[Any]:
    """Returns the devices of a TPU slice to compile for; the slice need not be present.

    Args:
        topology: Generation and chips along each axis, such as ``v5e:4x4`` or ``v5p:4x4x8``.
        slices: Number of slices, connected by the data-centre network.

    Raises:
        ScalaxError: libtpu is missing, or does not know the topology.

    Example:
        ``tpu_devices("v5p:4x4x8")`` has 128 devices, ``tpu_devices("v5e:16x16", 2)`` has 512.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    from jax.experimental import topologies

    try:
        description = topologies.get_topology_desc(
            platform="tpu",
            topology_name=topology,
            num_slices=slices,
            **_CHIP_OPTIONS.get(topology.partition(":")[0], {}),
        )
    except Exception as error:  # libtpu raises RuntimeError, ValueError or a JAX error
        raise ScalaxError(
            f"unknown topology: {str(error).splitlines()[0]}",
            where=f"topology {topology!r}",
            fix="write v5e:4x4, v5p:4x4x8 or v6e:4x4; install libtpu with pip install 'jax[tpu]'",
        ) from None
    return list(description.devices)


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
) -> CompiledStep:
    """Compiles a train step for devices that need not be present.

    Args:
        family: The model family.
        shape: The shape of the model.
        data: The spec of the data.
        devices: The devices, from `tpu_devices`.
        mesh: Devices along each axis.
        batch: Examples in a batch.
        precision: ``f32`` or ``bf16``.
        recompute: What the backward pass recomputes.
        accumulate: Number of parts that a batch is computed in.

    Returns:
        The memory that the step needs, and whether it fits.

    Raises:
        ScalaxError: The mesh does not match the devices or the batch.
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
    sharding = batch_sharding(made)
    examples = {
        name: jax.ShapeDtypeStruct((batch, *feature.shape), feature.dtype, sharding=sharding)
        for name, feature in data.features.items()
    }
    examples["mask"] = jax.ShapeDtypeStruct((batch,), np.float32, sharding=sharding)
    lowered = program.lower_step(examples, dict.fromkeys(SCHEDULE, np.float32(1)))
    chips = len({(getattr(d, "slice_index", 0), *d.coords) for d in made.devices.flat})
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        argument_bytes = sum(map(_shard_bytes, jax.tree.leaves((program.abstract(), examples))))
        needed = _overflow(str(error), argument_bytes)
        if needed is None:
            raise
        return CompiledStep(False, *needed, made.size, chips, ())
    kernels = re.findall(
        r"%(\w+)[.\d]* = .*custom_call_target=\"tpu_custom_call\"", compiled.as_text()
    )
    peak = int(compiled.memory_analysis().peak_memory_in_bytes)
    return CompiledStep(True, peak, None, made.size, chips, tuple(sorted(set(kernels))))


def _shard_bytes(leaf: Any) -> int:
    """Returns the bytes of an array on one of its devices."""
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def _overflow(text: str, argument_bytes: int) -> tuple[int, int] | None:
    """Reads the bytes needed and available from a compiler's message; None for other errors.

    The message states the bytes of the whole program, or only those of its temporaries if these
    alone do not fit; then the bytes of the arguments are added.
    """
    if "RESOURCE_EXHAUSTED" not in text:
        return None
    if match := re.search(rf"Used {_SIZE} of {_SIZE} hbm", text):
        return _bytes(*match.group(1, 2)), _bytes(*match.group(3, 4))
    if match := re.search(rf"temporaries \({_SIZE}\) exceeds available HBM \({_SIZE}\)", text):
        return _bytes(*match.group(1, 2)) + argument_bytes, _bytes(*match.group(3, 4))
    return None


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * {"K": 2**10, "M": 2**20, "G": 2**30}[unit])
