"""Prepares jax for the devices that are there; call `prepare` before anything imports jax."""

from __future__ import annotations

import os
from pathlib import Path

_TPU_FILES = ("/dev/accel0", "/dev/vfio/0", "/dev/vfio/1")
_GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")


def has_accelerator() -> bool:
    """Whether a TPU's or GPU's device files are there; jax is not asked."""
    return has_tpu() or any(Path(path).exists() for path in _GPU_FILES)


def has_tpu() -> bool:
    """Whether a TPU's device files are there; jax is not asked."""
    return any(Path(path).exists() for path in _TPU_FILES)


def prepare() -> None:
    """Chooses the platform and, on CPU, one device a core.

    libtpu may be installed on a host without a TPU, where starting it prints errors: without an
    accelerator's device files, jax is told to use the CPU. ``JAX_PLATFORMS`` and
    ``JAX_NUM_CPU_DEVICES`` in the environment are left as they are.
    """
    if not has_accelerator():
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if os.environ.get("JAX_PLATFORMS") == "cpu" and not os.environ.get("XLA_FLAGS"):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cores()))


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
