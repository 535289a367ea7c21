"""How long this machine's processor trains, from a short measurement of its matrix products."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from scalax.devices import has_accelerator, usable_cores


def expected_seconds(work: Iterable[tuple[float, float]]) -> float | None:
    """Time to train on this machine's processor, compiling and evaluating left out.

    Args:
        work: Model FLOPs to be spent, and those of one token (or example), a pair a run.

    Returns:
        Seconds, good to a factor of two for transformers on an idle machine; None where an
        accelerator would do the work instead.
    """
    if has_accelerator():
        return None
    return sum(flops / training_share(each) for flops, each in work) / matmul_rate()


def training_share(flops_per_unit: float) -> float:
    """What a training step reaches of the machine's `matmul_rate`: small matrices reach little.

    Measured on two cores with transformers of 20 thousand to 5 million parameters, which reached
    .24, .34, .54, .79 and .73: python tools/training_share.py FOLDER. Other families may be far
    off: convolutions of 8x8 pixels reached a tenth of it.

    Args:
        flops_per_unit: Model FLOPs to train on a token, or on an example where data has none.

    Example:
        >>> [round(training_share(flops), 2) for flops in (1.4e5, 2.2e6, 3.1e7)]
        [0.24, 0.53, 0.75]
    """
    return float(min(0.75, 0.24 * (flops_per_unit / 1.45e5) ** 0.29))


def matmul_rate(seconds: float = 0.1) -> float:
    """FLOP/s of small float32 matrix products on all usable cores, whatever else runs on them.

    The fastest of many, each on one core: products that NumPy spreads over the cores wait for
    every one of them, and beside other work fall to a tenth.
    """
    count, side = 16, 64
    left = np.ones((count, side, side), np.float32)
    right, product = np.ones_like(left), np.empty_like(left)
    least, until = np.inf, time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        np.matmul(left, right, out=product)
        least = min(least, time.perf_counter() - began)
    return float(usable_cores() * 2 * count * side**3 / least)
