"""Prepares JAX for the devices of this machine; call `prepare` before anything imports jax."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_TPU_FILES = ("/dev/accel0", "/dev/vfio/0", "/dev/vfio/1")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_GPU_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd")


def has_accelerator() -> bool:
    """Returns whether device files of a TPU or GPU exist; does not import jax."""
    return has_tpu() or any(Path(path).exists() for path in _GPU_FILES)


def has_tpu() -> bool:
    """Returns whether device files of a TPU exist; does not import jax."""
    return any(Path(path).exists() for path in _TPU_FILES)


def prepare() -> None:
    """Chooses the platform and, on CPU, one device per core.

    Without device files of an accelerator it selects the CPU, because an installed libtpu prints
    errors when it starts on a host without a TPU. It does not change ``JAX_PLATFORMS`` and
    ``JAX_NUM_CPU_DEVICES`` if they are set.
    """
    if not has_accelerator():
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        _keep_freed_memory()
    if os.environ.get("JAX_PLATFORMS") == "cpu" and not os.environ.get("XLA_FLAGS"):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cores()))


def _keep_freed_memory() -> None:
    """Makes glibc keep large freed blocks instead of returning them to the system.

    XLA allocates the temporaries of a step in every step. Returned pages are mapped and zeroed
    again each time, which took a third to a half of a small model's step (python
    tools/bench_train.py, 128 wide). The process keeps its peak memory.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
