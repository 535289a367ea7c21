"""Judges rollouts: how much each member counts, and how far a forecast may miss.

The cutoffs that choose the shares never calibrate them: at every cutoff the shares come from the
budgets below it alone, the forecast of the hidden budgets from those shares, and only the errors of
such forecasts set the scale of the interval. It fits nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from scalax.fit.backtest import Rollout
from scalax.predict.forecast_error import ForecastError

# Shares. What stands before any rollout: weight on the larger runs, forms with a floor.
_BEFORE = {"flat": 0.5, "compute": 1.0, "flops": 1.5}
_BEFORE_LAW = {"chinchilla": 1.3, "kaplan": 0.5}
_SHARPNESS = 4.0
_RECENT = 0.6
_FEW = 1.0
_SLIGHT = 5e-4

# Scale, in the terms of `ForecastError`, before it is multiplied by what the rollouts say.
_NOISE = 1.4
_FORM = 0.004
_POWER = 0.75
_DOUBT = 0.75
_LEAST_NOISE = 3e-4
_OF_SPLIT = 0.06

PRIOR_SCALE = 1.25
"""Error over the scale above, before a sweep's own rollouts are known. Public sweeps without their
two largest budgets gave 1.09 (`python tools/bench_forecast.py --learn`); a little more is kept for
sweeps unlike them."""
ALONE_SCALE = 2.0
"""The same for one law asked for by name, without the priors and the other members."""
PRIOR_COUNT = 5.0
"""What that prior scale counts against rollout errors, each of which counts 0.3 at most."""
_COUNT = 0.3
_FADE, _FADE_FAR = 0.8, 0.7
_CAP = 9.0
_FREEDOM = 5.0


@dataclass(frozen=True)
class Judged:
    """An ensemble's forecast at one cutoff.

    Attributes:
        shares: Of the members, [members].
        log_loss: Forecasts, [rows].
        spread: Standard deviation of the members' forecasts, [rows].
        error: The error model before it is scaled by rollouts.
    """

    shares: np.ndarray
    log_loss: np.ndarray
    spread: np.ndarray
    error: ForecastError


def shares(rollout: Rollout, before: int) -> np.ndarray:
    """How much each member counts, by its errors at the budgets below a cutoff.

    Args:
        rollout: Forecasts of every member.
        before: Only budgets below this one are looked at.

    Returns:
        [members], summing to 1: what stood before times the error to the power -4, errors of
        recent cutoffs counting more, and pulled to what stood before where cutoffs are few.
    """
    prior = np.asarray(
        [_BEFORE[m.weights] * _BEFORE_LAW.get(m.law.name, 1.0) for m in rollout.members]
    )
    total, weight = np.zeros(len(prior)), 0.0
    for cutoff in rollout.cutoffs(before):
        for budget in range(cutoff, before):
            recent = _RECENT ** (before - 1 - cutoff)
            distance = np.log(rollout.budgets[budget] / rollout.budgets[cutoff - 1])
            size = _errors(rollout, cutoff, budget) / np.sqrt(max(distance, 0.3))
            total += recent * np.log(size + _SLIGHT)
            weight += recent
    if weight:
        trust = weight / (weight + _FEW)
        mean = total / weight
        prior = prior * np.exp(-_SHARPNESS * trust * (mean - mean.min()))
    return np.asarray(prior / prior.sum())


def _errors(rollout: Rollout, cutoff: int, budget: int) -> np.ndarray:
    rows = rollout.label == budget
    return np.asarray(
        np.abs(rollout.log_measured[rows] - rollout.forecasts[cutoff][:, rows]).mean(axis=1)
    )


def judge(rollout: Rollout, cutoff: int) -> Judged:
    """The ensemble's forecast at a cutoff, its shares from the budgets below."""
    share = shares(rollout, cutoff)
    logs = rollout.forecasts[cutoff]
    mean = share @ logs
    spread = np.sqrt(share @ (logs - mean) ** 2)
    reach = float(rollout.reach[cutoff - 1])
    noise = _NOISE * max(_scatter(rollout, cutoff, mean), _LEAST_NOISE)
    return Judged(share, mean, spread, ForecastError(reach, noise, _FORM, _POWER, _DOUBT, 1.0))


def _scatter(rollout: Rollout, cutoff: int, mean: np.ndarray) -> float:
    """Robust spread of the residuals about their middle within each of the last three budgets."""
    found = []
    for budget in range(max(0, cutoff - 3), cutoff):
        r = (rollout.log_measured - mean)[rollout.label == budget]
        if len(r) >= 3:
            found.append(1.4826 * float(np.median(np.abs(r - np.median(r)))))
    return float(np.median(found)) if found else 0.003


def calibrated(
    rollout: Rollout, cutoff: int, level: float, *, prior_scale: float = PRIOR_SCALE
) -> tuple[Judged, ForecastError]:
    """The ensemble at a cutoff, and its error model scaled by its errors at earlier ones.

    Args:
        rollout: Forecasts of every member.
        cutoff: Budgets below it are known.
        level: Nominal coverage of the intervals.
        prior_scale: The scale that the rollouts' errors are shrunk towards.
    """
    square, weight = 0.0, 0.0
    for earlier in rollout.cutoffs(cutoff):
        for budget, error in _scaled_errors(rollout, earlier, cutoff):
            counts = _COUNT * _FADE ** (cutoff - 1 - budget) * _FADE_FAR ** (budget - earlier)
            square += counts * min(error, _CAP)
            weight += counts
    scale = np.sqrt((PRIOR_COUNT * prior_scale**2 + square) / (PRIOR_COUNT + weight))
    judged = judge(rollout, cutoff)
    return judged, _scaled(judged.error, float(scale), weight, level)


def _scaled_errors(rollout: Rollout, cutoff: int, before: int) -> list[tuple[int, float]]:
    """For each budget from a cutoff to below another, the mean square of error over scale."""
    judged = judge(rollout, cutoff)
    scale = judged.error.scale(rollout.flops, judged.spread)
    ratio = ((rollout.log_measured - judged.log_loss) / scale) ** 2
    return [(j, float(ratio[rollout.label == j].mean())) for j in range(cutoff, before)]


def _scaled(error: ForecastError, scale: float, weight: float, level: float) -> ForecastError:
    return ForecastError(
        reach=error.reach,
        noise=error.noise * scale,
        form=error.form * scale,
        power=error.power,
        doubt=error.doubt * scale,
        quantile=student_quantile(level, _FREEDOM + weight),
    )


@functools.lru_cache(maxsize=256)
def student_quantile(level: float, freedom: float) -> float:
    """Half width of the central interval of Student's t.

    Example:
        >>> round(student_quantile(0.9, 5.0), 4)
        2.015
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def learned_scale(rollouts: list[Rollout]) -> float:
    """The root mean square of error over scale across sweeps, each counting once."""
    squares = []
    for rollout in rollouts:
        found = [
            min(error, _CAP)
            for cutoff in rollout.cutoffs(rollout.count)
            if cutoff >= 3
            for _, error in _scaled_errors(rollout, cutoff, min(cutoff + 3, rollout.count))
        ]
        if found:
            squares.append(np.mean(found))
    return float(np.sqrt(np.mean(squares)))


def split_error(rollout: Rollout, sizes: dict[int, np.ndarray], level: float) -> ForecastError:
    """The error of log N* (and, mirrored, of log D*): how it moved as budgets were added.

    Args:
        rollout: The same rollouts.
        sizes: ``{cutoff: [members, budgets]}``, log N* of each member's fit at each budget.
        level: Nominal coverage of the intervals.
    """
    last = rollout.count
    plain = ForecastError(float(rollout.reach[-1]), 0.03, _OF_SPLIT, _POWER, 1.0, 1.0)
    settled = shares(rollout, last) @ sizes[last]
    square, weight = 0.0, 0.0
    for cutoff in rollout.cutoffs(last):
        share = shares(rollout, cutoff)
        mean = share @ sizes[cutoff]
        spread = np.sqrt(share @ (sizes[cutoff] - mean) ** 2)
        here = ForecastError(float(rollout.reach[cutoff - 1]), 0.03, _OF_SPLIT, _POWER, 1.0, 1.0)
        ratio = ((settled - mean) / here.scale(rollout.budgets, spread)) ** 2
        for budget in range(cutoff, last):
            counts = _COUNT * _FADE ** (last - 1 - budget) * _FADE_FAR ** (budget - cutoff)
            square += counts * min(float(ratio[budget]), _CAP)
            weight += counts
    scale = np.sqrt((PRIOR_COUNT + square) / (PRIOR_COUNT + weight))
    return _scaled(plain, float(scale), weight, level)
