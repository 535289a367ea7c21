"""How fast this machine's processor trains, from a short measurement of its matrix products."""

from __future__ import annotations

import time

import numpy as np

from scalax.devices import has_accelerator

TRAINING_SHARE = 0.19
"""Of the matrix-product rate measured here, what a small transformer's training step reaches on
the same cores: python tools/training_share.py out/quickstart."""


def expected_seconds(flops: float) -> float | None:
    """Time to train some model FLOPs on this machine's processor.

    Args:
        flops: Model FLOPs, as a family counts them.

    Returns:
        Seconds, good to a factor of two; None where an accelerator would do the work instead.
    """
    if has_accelerator():
        return None
    return flops / (TRAINING_SHARE * matmul_rate())


def matmul_rate(seconds: float = 0.1) -> float:
    """FLOP/s of float32 matrix products of the shapes that small models have, all cores."""
    left = np.ones((2048, 128), np.float32)
    right = np.ones((128, 512), np.float32)
    left @ right
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        left @ right
        done += 1
    return done * 2 * 2048 * 128 * 512 / (time.perf_counter() - began)
