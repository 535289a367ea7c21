"""The compute multiplier between two recipes or data mixtures, from the fits of both.

It is the compute that A needs to reach the loss that B reaches at a budget, over that budget, where
each splits its compute as it best can. Both losses must be of the same held-out data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from scalax.laws.base import Array
from scalax.predict.columns import assumptions, positive
from scalax.predict.protocol import LossLaw

_DECADES = 12.0
_MOST_SAMPLES = 1000


@dataclass(frozen=True)
class Gain:
    """The compute multiplier of recipe B over recipe A.

    Attributes:
        multiplier: A's compute over B's at equal loss; above 1 B is better. None where A never
            reaches B's loss within twelve decades.
        low: Lower end of the interval; None where a fit has neither samples nor forecast errors.
        high: Upper end; None also where it is beyond twelve decades.
        level: Nominal coverage of the interval.
        flops: B's budget, in FLOPs.
        flops_needed: A's compute for the same loss, in FLOPs.
        loss: The loss that B reaches.
        loss_a: The loss that A reaches at B's budget.
        notes: Warnings and assumptions.
    """

    multiplier: float | None
    low: float | None
    high: float | None
    level: float
    flops: float
    flops_needed: float | None
    loss: float
    loss_a: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return asdict(self)


def compute_multiplier(a: LossLaw, b: LossLaw, flops: float) -> Gain:
    """Returns the compute multiplier of B over A at a budget.

    Args:
        a: The fit of the recipe to compare with.
        b: The fit of the recipe in question.
        flops: B's training compute, in FLOPs.

    Returns:
        The multiplier, both losses, and an interval: from the forecast errors of both fits where
        one has them, otherwise from their samples, drawn independently.

    Raises:
        ScalaxError: The budget is not positive, or a law has no loss at a budget.
    """
    budget = float(positive("flops", flops))
    target = frontier_loss(b, b.coefficients or {}, budget)
    multiplier = float(_multiplier(a, a.coefficients or {}, target, budget))
    low, high, notes = _interval(a, b, budget, target, multiplier)
    for name, fit in (("A", a), ("B", b)):
        greatest = fit.ranges.get("flops", [0, math.inf])[1]
        if budget > greatest:
            notes.append(
                f"{budget / greatest:,.3g} times the compute of {name}'s largest run fitted"
            )
        notes += [f"{name}: {sentence}" for sentence in assumptions(fit.form, {})]
    if not math.isfinite(multiplier):
        notes.append("A never reaches that loss by its law")
    return Gain(
        multiplier=_finite(multiplier),
        low=_finite(low),
        high=_finite(high),
        level=a.level,
        flops=budget,
        flops_needed=_finite(multiplier * budget),
        loss=float(target),
        loss_a=float(frontier_loss(a, a.coefficients or {}, budget)),
        notes=notes,
    )


def frontier_loss(fit: LossLaw, c: Mapping[str, Array], flops: Array) -> Array:
    """Returns the least loss that a budget reaches under a law.

    Args:
        fit: The law and its compute rule.
        c: Coefficients by name, floats or [samples].
        flops: Budget in FLOPs; broadcasts against the coefficients.

    Raises:
        ScalaxError: The law reads neither params and tokens nor flops alone.
    """
    return fit.form.loss(np, c, _frontier(fit, c, flops))


def _frontier(fit: LossLaw, c: Mapping[str, Array], flops: Array) -> dict[str, Array]:
    """Returns the columns at the best split of a budget."""
    form = fit.form
    if form.columns == ("flops",):
        return {"flops": flops}
    params, tokens = form.allocate(c, flops, fit.compute)
    return form.complete({"params": params, "tokens": tokens})


def _interval(
    a: LossLaw, b: LossLaw, flops: float, target: Array, multiplier: float
) -> tuple[float | None, float | None, list[str]]:
    """Returns the ends of the interval, None where unknown, and notes on what they contain."""
    for name, fit in (("A", a), ("B", b)):
        if fit.error is None and not len(fit.samples):
            return None, None, [f"no interval: {name} has neither bootstrap samples nor backtests"]
    if a.error is None and b.error is None:
        count = min(len(a.samples), len(b.samples), _MOST_SAMPLES)
        drawn_a, drawn_b = a.sampled_coefficients(count), b.sampled_coefficients(count)
        # Two fits with one seed resample the same rows; a shuffle makes their draws independent.
        order = np.random.default_rng(0).permutation(count)
        drawn_b = {name: column[order] for name, column in drawn_b.items()}
        times = _multiplier(a, drawn_a, frontier_loss(b, drawn_b, flops), flops)
        tail = (1 - a.level) / 2
        low, high = np.quantile(times, [tail, 1 - tail], method="nearest").tolist()
        return (
            low,
            high,
            ["the interval contains the sampling noise of both fits, not the error of a form"],
        )
    needed = multiplier * flops if math.isfinite(multiplier) else flops
    # The two errors are independent, so their squares add.
    miss = math.hypot(_half_width(a, needed), _half_width(b, flops))
    low, high = (
        float(_multiplier(a, a.coefficients or {}, target * math.exp(error), flops))
        for error in (miss, -miss)
    )
    notes = [f"the interval allows for an error of {miss:.2g} in the log loss of A over that of B"]
    if a.level != b.level:
        notes.append(f"A's intervals have a coverage of {a.level:g}, B's of {b.level:g}")
    return low, high, notes


def _half_width(fit: LossLaw, flops: float) -> float:
    """Returns half the interval of the log loss on a fit's frontier."""
    if fit.error is not None:
        spread = float(fit.loss_spread(_frontier(fit, fit.coefficients or {}, flops)))
        return float(fit.error.quantile * fit.error.scale(flops, spread))
    drawn = fit.sampled_coefficients(_MOST_SAMPLES)
    tail = (1 - fit.level) / 2
    low, high = np.nanquantile(np.log(frontier_loss(fit, drawn, flops)), [tail, 1 - tail])
    return float(high - low) / 2


def _multiplier(a: LossLaw, c: Mapping[str, Array], target: Array, flops: float) -> Array:
    """Returns A's compute over ``flops`` where its frontier meets the target, by bisection."""
    span = _DECADES * math.log(10)
    low, high = np.full(np.shape(target), -span), np.full(np.shape(target), span)
    reached = frontier_loss(a, c, flops * np.exp(high)) <= target
    for _ in range(60):
        middle = (low + high) / 2
        above = frontier_loss(a, c, flops * np.exp(middle)) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(reached, np.exp((low + high) / 2), np.inf)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
