"""Intervals of a fit's answers: from the errors of its backtests, or from resampled coefficients.

It never evaluates the coefficients' estimate itself, except through the fit that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalax.array_types import Float
from scalax.predict.extrapolation import distance_outside
from scalax.predict.protocol import LossLaw

Intervals = dict[str, list[float] | None]
"""``[low, high]`` of params, tokens and loss; None where unknown."""

NO_INTERVALS = ("params", "tokens", "loss")


def loss_intervals(fit: LossLaw, x: Mapping[str, Any], size: int) -> tuple[list[Any], list[Any]]:
    """Returns the low and high ends for a new measurement at each point.

    They come from the errors of backtests; without them, from quantiles of resampled laws, each
    with a residual drawn from the fit's own.

    Args:
        fit: The fit.
        x: The columns of the query, each a number or [points].
        size: How many points.

    Returns:
        Two lists of one number a point; None where the fit carries neither.
    """
    if fit.error is not None and fit.error.column in x:
        loss, outside = fit.loss(**x), distance_outside(fit.ranges, x)
        ends = fit.error.interval(loss, x[fit.error.column], fit.loss_spread(x), outside)
        low, high = (np.broadcast_to(end, (size,)).tolist() for end in ends)
        return low, high
    if not len(fit.samples) or not len(fit.residuals):
        return [None] * size, [None] * size
    sampled = {name: column[:, None] for name, column in fit.sampled_coefficients().items()}
    losses = fit.form.loss(np, sampled, x) * np.ones(size)
    # Log residuals add to the log of each resampled law's loss; all pairs would be too many.
    rng = np.random.default_rng(0)
    noise = rng.choice(fit.residuals, size=losses.shape)
    low, high = np.quantile(
        losses * np.exp(noise), [(1 - fit.level) / 2, (1 + fit.level) / 2], axis=0
    )
    return low.tolist(), high.tolist()


def split_intervals(
    fit: LossLaw,
    flops: float,
    params: float,
    tokens: float,
    loss: float,
    extra: Mapping[str, float],
) -> Intervals:
    """Returns the intervals of an allocation.

    Args:
        fit: The fit.
        flops: The budget.
        params: N*.
        tokens: D*.
        loss: The forecast loss there.
        extra: The law's other columns.
    """
    if fit.error is not None:
        return _from_errors(fit, flops, params, tokens, loss)
    if not len(fit.samples):
        return dict.fromkeys(NO_INTERVALS)
    sampled = fit.sampled_coefficients()
    rest = (extra,) if extra else ()  # a plugin's closed form may take no other columns
    n, d = fit.form.allocate(sampled, flops, fit.compute, *rest)
    at = fit.form.loss(np, sampled, fit.form.complete({**extra, "params": n, "tokens": d}))
    return {
        "params": _quantiles(np.asarray(n), fit.level),
        "tokens": _quantiles(np.asarray(d), fit.level),
        "loss": _quantiles(np.asarray(at), fit.level),
    }


def _from_errors(
    fit: LossLaw, flops: float, params: float, tokens: float, loss: float
) -> Intervals:
    """Intervals from the errors of backtests; those of N* and D* mirror each other."""
    assert fit.error is not None
    x = {"params": params, "tokens": tokens}
    outside = distance_outside(fit.ranges, x)
    low, high = fit.error.interval(loss, flops, fit.loss_spread(x), outside)
    intervals: Intervals = {"params": None, "tokens": None}
    if fit.split_error is not None:
        error = fit.split_error.interval(params, flops, fit.split_spread(flops), outside)
        ends = [float(end) for end in error]
        intervals["params"] = ends
        intervals["tokens"] = [float(fit.compute.tokens(end, flops)) for end in reversed(ends)]
    return {**intervals, "loss": [float(low), float(high)]}


def _quantiles(values: Float[np.ndarray, " resamples"], level: float) -> list[float]:
    tail = (1 - level) / 2
    return [float(q) for q in np.quantile(values, [tail, 1 - tail])]
