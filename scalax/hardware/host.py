"""How long this machine's processor trains, from a short measurement of its matrix products."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from scalax.devices import has_accelerator


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
    .22, .31, .50, .72 and .67: python tools/training_share.py FOLDER.

    Args:
        flops_per_unit: Model FLOPs to train on a token, or on an example where data has none.

    Example:
        >>> [round(training_share(flops), 2) for flops in (1.4e5, 2.2e6, 3.1e7)]
        [0.22, 0.48, 0.7]
    """
    return float(min(0.7, 0.22 * (flops_per_unit / 1.45e5) ** 0.29))


def matmul_rate(seconds: float = 0.1) -> float:
    """FLOP/s of float32 matrix products of the shapes that small models have, all cores.

    By the fastest one: where other work shares the cores, NumPy's threads wait for each other, and
    the mean falls to a tenth.
    """
    left = np.ones((2048, 128), np.float32)
    right = np.ones((128, 512), np.float32)
    least, until = np.inf, time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        left @ right
        least = min(least, time.perf_counter() - began)
    return float(2 * 2048 * 128 * 512 / least)
