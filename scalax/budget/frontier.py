"""Computes the compute-optimal frontier: the best split at each of several budgets."""

from __future__ import annotations

import math
from typing import Literal

from scalax.budget.hardware import TrainingHardware, allocate_on
from scalax.errors import ScalaxError
from scalax.predict.answers import Allocation
from scalax.predict.protocol import ScalingLaw

Unit = Literal["flops", "days", "usd"]


def frontier(
    law: ScalingLaw,
    budgets: list[float],
    unit: Unit = "flops",
    *,
    hardware: TrainingHardware | None = None,
    max_tokens: float | None = None,
    given: dict[str, float] | None = None,
) -> list[Allocation]:
    """Allocates each of several budgets, in FLOPs, days or dollars.

    Args:
        law: The law.
        budgets: Budgets, in the unit.
        unit: FLOPs, or days or dollars of the hardware.
        hardware: The chips; required for days and dollars.
        max_tokens: Tokens available; None for no limit.
        given: The law's columns other than params and tokens.

    Returns:
        One allocation for each budget, in the order given.

    Raises:
        ScalaxError: The unit is days or dollars and no hardware is given, or as `Fit.allocate` and
            `scalax.budget.hardware.allocate_on`.
    """
    if hardware is None:
        if unit != "flops":
            raise ScalaxError(f"a budget in {unit} needs chips", where=f"--{unit}", fix="--chips")
        return law.frontier(budgets, max_tokens=max_tokens, **(given or {}))
    return [
        allocate_on(law, hardware, **{unit: budget}, max_tokens=max_tokens, given=given)
        for budget in budgets
    ]


def spread(text: str, points: int, where: str) -> list[float]:
    """Parses budgets: a comma-separated list, or LOW:HIGH for a geometric sequence.

    Args:
        text: The option's value.
        points: Number of budgets in a LOW:HIGH range.
        where: The option's name, for error messages.

    Raises:
        ScalaxError: A value is not a positive number, or the range is empty.

    Example:
        >>> spread("1e20:1e22", 3, "--flops")
        [1e+20, 1e+21, 1e+22]
    """
    try:
        ends = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError:
        ends = []
    if not ends or not all(math.isfinite(end) and end > 0 for end in ends):
        raise ScalaxError(
            f"expected positive numbers, got {text!r}", where=where, fix="write 1e20:1e25"
        )
    if ":" not in text:
        return ends
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise ScalaxError(f"expected LOW:HIGH, got {text!r}", where=where, fix="write 1e20:1e25")
    low, high = ends
    steps = max(1, points - 1)
    return [float(f"{low * (high / low) ** (k / steps):.6g}") for k in range(steps + 1)]
