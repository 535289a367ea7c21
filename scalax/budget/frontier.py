"""The best split over a range of budgets: the compute-optimal frontier as a table."""

from __future__ import annotations

import math
from typing import Literal

from scalax.budget.hardware import Run, allocate_on
from scalax.errors import ScalaxError
from scalax.predict.answers import Allocation
from scalax.predict.protocol import ScalingLaw

Unit = Literal["flops", "days", "usd"]


def frontier(
    law: ScalingLaw,
    budgets: list[float],
    unit: Unit = "flops",
    *,
    run: Run | None = None,
    max_tokens: float | None = None,
    given: dict[str, float] | None = None,
) -> list[Allocation]:
    """Allocates each of several budgets, in FLOPs, days or dollars.

    Args:
        law: The law.
        budgets: Budgets, in FLOPs, or in days or dollars of the run's chips.
        unit: Unit of the budgets.
        run: The chips; needed for days and dollars.
        max_tokens: Tokens available.
        given: The law's other columns.

    Raises:
        ScalaxError: As `allocate_limited` and `scalax.budget.hardware.allocate_on`.
    """
    if run is None:
        if unit != "flops":
            raise ScalaxError(f"a budget in {unit} needs chips", where=f"--{unit}", fix="--chips")
        return law.frontier(budgets, max_tokens=max_tokens, **(given or {}))
    return [
        allocate_on(law, run, **{unit: each}, max_tokens=max_tokens, given=given)
        for each in budgets
    ]


def spread(text: str, points: int, where: str) -> list[float]:
    """Parses budgets: a comma-separated list, or LOW:HIGH in equal ratios.

    Raises:
        ScalaxError: A number is wrong or not positive, or the range is empty.

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
