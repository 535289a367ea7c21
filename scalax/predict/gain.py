"""The compute multiplier between two recipes or data mixtures, from the fits of both.

How much more compute A needs to reach the loss that B reaches at a budget, each spending its
compute as it best can. Both losses must be of the same held-out data. It fits nothing.
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
    """How many times the compute A needs to match B.

    Attributes:
        multiplier: A's compute over B's at equal loss; above 1 B is better. None where A never
            reaches B's loss within twelve decades.
        low: Lower end of the interval; None where a fit carries neither samples nor the error of
            its forecasts.
        high: Upper end; None also where it is beyond twelve decades.
        level: Nominal coverage of the interval.
        flops: B's budget.
        flops_needed: A's, for the same loss.
        loss: The loss that B reaches.
        loss_a: The loss that A reaches at B's budget.
        notes: What the reader should know.
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
        """The record as JSON values."""
        return asdict(self)


def gain(a: LossLaw, b: LossLaw, flops: float) -> Gain:
    """The compute multiplier of B over A at a budget.

    Args:
        a: The law of the recipe to compare with.
        b: The law of the recipe in question.
        flops: B's training compute, in FLOPs.

    Returns:
        The multiplier, both losses, and an interval: from the errors of both fits' forecasts where
        one carries them, else from their samples, drawn independently.

    Raises:
        ScalaxError: The budget is not positive, or a law has no loss at a budget.

    Example:
        >>> from scalax.predict.fit_result import Fit
        >>> same = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.3, "beta": 0.3}
        >>> other = {**same, "A": 400 * 2**0.15, "B": 400 * 2**0.15}
        >>> found = gain(Fit("chinchilla", other), Fit("chinchilla", same), 1e21)
        >>> round(found.multiplier, 6)
        2.0
    """
    budget = float(positive("flops", flops))
    target = frontier_loss(b, b.coefficients or {}, budget)
    found = float(_multiplier(a, a.coefficients or {}, target, budget))
    low, high, notes = _interval(a, b, budget, target, found)
    for name, fit in (("A", a), ("B", b)):
        greatest = fit.ranges.get("flops", [0, math.inf])[1]
        if budget > greatest:
            notes.append(
                f"{budget / greatest:,.3g} times the compute of {name}'s largest run fitted"
            )
        notes += [f"{name}: {words}" for words in assumptions(fit.form, {})]
    if not math.isfinite(found):
        notes.append("A never reaches that loss by its law")
    return Gain(
        multiplier=_finite(found),
        low=_finite(low),
        high=_finite(high),
        level=a.level,
        flops=budget,
        flops_needed=_finite(found * budget),
        loss=float(target),
        loss_a=float(frontier_loss(a, a.coefficients or {}, budget)),
        notes=notes,
    )


def frontier_loss(fit: LossLaw, c: Mapping[str, Array], flops: Array) -> Array:
    """The least loss that a budget reaches under a law.

    Args:
        fit: The law, its compute rule included.
        c: Coefficients by name, floats or [samples].
        flops: Budget in FLOPs, of a shape that broadcasts against them.

    Raises:
        ScalaxError: The law is neither of params and tokens nor of compute.
    """
    return fit.form.loss(np, c, _frontier(fit, c, flops))


def _frontier(fit: LossLaw, c: Mapping[str, Array], flops: Array) -> dict[str, Array]:
    """The columns at the best split of a budget."""
    form = fit.form
    if form.columns == ("flops",):
        return {"flops": flops}
    params, tokens = form.allocate(c, flops, fit.compute)
    return form.complete({"params": params, "tokens": tokens})


def _interval(
    a: LossLaw, b: LossLaw, flops: float, target: Array, found: float
) -> tuple[float | None, float | None, list[str]]:
    """The ends of the multiplier's interval, None where unknown, and what they stand for."""
    for name, fit in (("A", a), ("B", b)):
        if fit.error is None and not len(fit.samples):
            return None, None, [f"no interval: {name} has neither samples nor errors of rollouts"]
    if a.error is None and b.error is None:
        count = min(len(a.samples), len(b.samples), _MOST_SAMPLES)
        drawn_a, drawn_b = a.sampled_coefficients(count), b.sampled_coefficients(count)
        # Two fits by one seed resample the same rows: a shuffle keeps their draws apart.
        order = np.random.default_rng(0).permutation(count)
        drawn_b = {name: column[order] for name, column in drawn_b.items()}
        times = _multiplier(a, drawn_a, frontier_loss(b, drawn_b, flops), flops)
        tail = (1 - a.level) / 2
        low, high = np.quantile(times, [tail, 1 - tail], method="nearest").tolist()
        return (
            low,
            high,
            ["the interval carries the sampling noise of both fits, not the error of a form"],
        )
    needed = found * flops if math.isfinite(found) else flops
    # The two errors are independent: they add in squares.
    miss = math.hypot(_half_width(a, needed), _half_width(b, flops))
    low, high = (
        float(_multiplier(a, a.coefficients or {}, target * math.exp(error), flops))
        for error in (miss, -miss)
    )
    notes = [f"the interval holds where the losses of A and B miss by {miss:.2g} in the logarithm"]
    if a.level != b.level:
        notes.append(f"A's intervals are of {a.level:g} coverage, B's of {b.level:g}")
    return low, high, notes


def _half_width(fit: LossLaw, flops: float) -> float:
    """Half the interval of the log of a frontier's loss."""
    if fit.error is not None:
        spread = float(fit.loss_spread(_frontier(fit, fit.coefficients or {}, flops)))
        return float(fit.error.quantile * fit.error.scale(flops, spread))
    drawn = fit.sampled_coefficients(_MOST_SAMPLES)
    tail = (1 - fit.level) / 2
    low, high = np.nanquantile(np.log(frontier_loss(fit, drawn, flops)), [tail, 1 - tail])
    return float(high - low) / 2


def _multiplier(a: LossLaw, c: Mapping[str, Array], target: Array, flops: float) -> Array:
    """A's compute over ``flops`` where its frontier meets the target, by bisection."""
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
