"""Prepares jax for the devices that are there; call `prepare` before anything imports jax."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_TPU_FILES = ("/dev/accel0", "/dev/vfio/0", "/dev/vfio/1")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
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
        _keep_freed_memory()
    if os.environ.get("JAX_PLATFORMS") == "cpu" and not os.environ.get("XLA_FLAGS"):
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(usable_cores()))


def _keep_freed_memory() -> None:
    """Tells glibc to keep large blocks that are freed instead of giving them back.

    XLA allocates a step's temporaries anew each step; given back, their pages are zeroed and
    mapped again each time, which took a third to a half of a small model's step
    (python tools/bench_train.py, 128 wide). The process keeps what it once used.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
