"""Estimates training time on this machine's processor from a short measurement."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from scalax.devices import has_accelerator, usable_cores


def expected_seconds(work: Iterable[tuple[float, float]]) -> float | None:
    """Returns the seconds of training on this machine's CPU, without compilation and evaluation.

    Args:
        work: One pair per run: its training FLOPs, and those of one token (or example).

    Returns:
        Seconds, within a factor of two for transformers on an idle machine; None on a machine
        with an accelerator, which would run the training.
    """
    if has_accelerator():
        return None
    return sum(flops / training_share(each) for flops, each in work) / matmul_rate()


def training_share(flops_per_unit: float) -> float:
    """Returns the share of `matmul_rate` that a training step reaches; small models reach less.

    Measured on two cores with transformers of 20 thousand to 5 million parameters, which reached
    .24, .34, .54, .79 and .73 (python tools/training_share.py FOLDER). Other families can be far
    off: convolutions of 8x8 pixels reached a tenth of this.

    Args:
        flops_per_unit: Training FLOPs of one token, or of one example of data without tokens.

    Example:
        >>> [round(training_share(flops), 2) for flops in (1.4e5, 2.2e6, 3.1e7)]
        [0.24, 0.53, 0.75]
    """
    return float(min(0.75, 0.24 * (flops_per_unit / 1.45e5) ** 0.29))


def matmul_rate(seconds: float = 0.1) -> float:
    """Measures the FLOP/s of small float32 matrix products on all usable cores.

    It times many products, each on one core, and takes the fastest. Products that NumPy spreads
    over all cores wait for the slowest core, and drop to a tenth of the rate under other load.

    Args:
        seconds: How long to measure.
    """
    count, side = 16, 64
    left = np.ones((count, side, side), np.float32)
    right, product = np.ones_like(left), np.empty_like(left)
    least, until = np.inf, time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        np.matmul(left, right, out=product)
        least = min(least, time.perf_counter() - began)
    return float(usable_cores() * 2 * count * side**3 / least)
