"""Evaluates backtests: the share of each member, and the error model of a forecast.

Shares are never calibrated on the budgets that chose them. At every cutoff, the shares come from
the budgets below it, and the forecast of the hidden budgets uses those shares. Only the errors of
such forecasts set the scale of the intervals. This module fits no law.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float
from scalax.fit.backtest import Backtest
from scalax.predict.forecast_error import ForecastError

_PRIOR_SHARE = {"flat": 0.5, "compute": 1.0, "flops": 1.5}
"""Relative share by row weights before any backtest: larger runs count more."""
_PRIOR_SHARE_OF_LAW = {"chinchilla": 1.3, "kaplan": 0.5}
"""Factor on that share by law: forms with a floor count more."""
_SHARPNESS = 4.0
"""Power of the inverse error in the shares."""
_RECENT = 0.6
"""Weight of a cutoff relative to the next later one."""
_FEW = 1.0
"""Weight of backtests at which the shares are halfway between prior and errors, in log terms."""
_SLIGHT = 5e-4
"""Log error below which two members count the same."""
_SHORT = 0.3
"""Least distance, in e-folds, that an error is divided by the root of."""

_NOISE = 1.4
"""Factor from the scatter of residuals to `ForecastError.noise`."""
_FORM = 0.004
"""`ForecastError.form` before it is scaled by backtests."""
_POWER = 0.75
"""`ForecastError.power`."""
_DOUBT = 0.75
"""`ForecastError.doubt` before it is scaled by backtests."""
_LEAST_NOISE = 3e-4
"""Least scatter of residuals."""
_USUAL_NOISE = 0.003
"""Scatter of residuals where no budget has three rows."""
_SPLIT_NOISE, _SPLIT_FORM = 0.03, 0.06
"""`ForecastError.noise` and `.form` of log N* before they are scaled by backtests."""

PRIOR_SCALE = 1.25
"""Scale of the error, relative to the constants above, before a sweep's own backtests are known.
Public sweeps without their two largest budgets gave 1.09 (`python tools/bench_forecast.py
--learn`); the value is a little higher for sweeps unlike them."""
ALONE_SCALE = 2.0
"""The same for a single law chosen by name, without priors and without other members."""
PRIOR_COUNT = 5.0
"""Weight of the prior scale against backtest errors, each of which weighs at most `_COUNT`."""
_COUNT = 0.3
"""Weight of one backtest error: the errors are correlated."""
_FADE, _FADE_FAR = 0.8, 0.7
"""Factors on that weight for each budget that the forecast is older, and farther away."""
_CAP = 9.0
"""Greatest squared ratio of error to scale that counts."""
_FREEDOM = 5.0
"""Degrees of freedom of Student's t without backtests."""
_ROBUST = 1.4826
"""Factor from the median absolute deviation to the standard deviation of a Gaussian."""


@dataclass(frozen=True)
class EnsembleForecast:
    """The forecast of an ensemble at one cutoff.

    Attributes:
        shares: Shares of the members, [members].
        log_loss: Log forecasts, [rows].
        spread: Standard deviation of the members' log forecasts, [rows].
        error: The error model before it is scaled by backtests.
    """

    shares: Float[np.ndarray, " members"]
    log_loss: Float[np.ndarray, " rows"]
    spread: Float[np.ndarray, " rows"]
    error: ForecastError


def member_shares(backtest: Backtest, before: int) -> np.ndarray:
    """Returns the share of each member, by its errors at the budgets below a cutoff.

    Args:
        backtest: Forecasts of every member.
        before: Only budgets below this one are used.

    Returns:
        [members], summing to 1: the prior share times the error to the power -4. Errors of later
        cutoffs count more, and with few cutoffs the shares are shrunk towards the prior ones.
    """
    prior = np.asarray(
        [
            _PRIOR_SHARE[m.weights] * _PRIOR_SHARE_OF_LAW.get(m.law.name, 1.0)
            for m in backtest.members
        ]
    )
    total, weight = np.zeros(len(prior)), 0.0
    for cutoff in backtest.cutoffs(before):
        for budget in range(cutoff, before):
            recent = _RECENT ** (before - 1 - cutoff)
            distance = np.log(backtest.budgets[budget] / backtest.budgets[cutoff - 1])
            size = _errors(backtest, cutoff, budget) / np.sqrt(max(distance, _SHORT))
            total += recent * np.log(size + _SLIGHT)
            weight += recent
    if weight:
        trust = weight / (weight + _FEW)
        mean = total / weight
        prior = prior * np.exp(-_SHARPNESS * trust * (mean - mean.min()))
    return np.asarray(prior / prior.sum())


def _errors(backtest: Backtest, cutoff: int, budget: int) -> np.ndarray:
    rows = backtest.label == budget
    return np.asarray(
        np.abs(backtest.log_measured[rows] - backtest.forecasts[cutoff][:, rows]).mean(axis=1)
    )


def forecast_at(backtest: Backtest, cutoff: int) -> EnsembleForecast:
    """Returns the forecast at a cutoff, with shares from the budgets below it."""
    share = member_shares(backtest, cutoff)
    logs = backtest.forecasts[cutoff]
    mean = share @ logs
    spread = np.sqrt(share @ (logs - mean) ** 2)
    reach = float(backtest.reach[cutoff - 1])
    noise = _NOISE * max(_scatter(backtest, cutoff, mean), _LEAST_NOISE)
    error = ForecastError(reach, noise, _FORM, _POWER, _DOUBT, 1.0)
    return EnsembleForecast(share, mean, spread, error)


def _scatter(backtest: Backtest, cutoff: int, mean: np.ndarray) -> float:
    """Returns the median over the last three budgets of the residuals' robust deviation."""
    found = []
    for budget in range(max(0, cutoff - 3), cutoff):
        r = (backtest.log_measured - mean)[backtest.label == budget]
        if len(r) >= 3:
            found.append(_ROBUST * float(np.median(np.abs(r - np.median(r)))))
    return float(np.median(found)) if found else _USUAL_NOISE


def calibrate(
    backtest: Backtest, cutoff: int, level: float, *, prior_scale: float = PRIOR_SCALE
) -> tuple[EnsembleForecast, ForecastError]:
    """Returns the ensemble at a cutoff, and its error model scaled by errors at earlier cutoffs.

    Args:
        backtest: Forecasts of every member.
        cutoff: Budgets below it are known.
        level: Nominal coverage of the intervals.
        prior_scale: The scale that the backtest errors are shrunk towards.
    """
    square, weight = 0.0, 0.0
    for earlier in backtest.cutoffs(cutoff):
        for budget, error in _scaled_errors(backtest, earlier, cutoff):
            counts = _COUNT * _FADE ** (cutoff - 1 - budget) * _FADE_FAR ** (budget - earlier)
            square += counts * min(error, _CAP)
            weight += counts
    scale = np.sqrt((PRIOR_COUNT * prior_scale**2 + square) / (PRIOR_COUNT + weight))
    forecast = forecast_at(backtest, cutoff)
    return forecast, _scaled(forecast.error, float(scale), weight, level)


def _scaled_errors(backtest: Backtest, cutoff: int, before: int) -> list[tuple[int, float]]:
    """Returns the mean squared ratio of error to scale for each budget from a cutoff on."""
    forecast = forecast_at(backtest, cutoff)
    scale = forecast.error.scale(backtest.flops, forecast.spread)
    ratio = ((backtest.log_measured - forecast.log_loss) / scale) ** 2
    return [(j, float(ratio[backtest.label == j].mean())) for j in range(cutoff, before)]


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
    """Returns the half width of the central interval of Student's t.

    Example:
        >>> round(student_quantile(0.9, 5.0), 4)
        2.015
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def learned_scale(backtests: list[Backtest]) -> float:
    """Returns the root mean square ratio of error to scale over sweeps, each counting once."""
    squares = []
    for backtest in backtests:
        found = [
            min(error, _CAP)
            for cutoff in backtest.cutoffs(backtest.count)
            if cutoff >= 3
            for _, error in _scaled_errors(backtest, cutoff, min(cutoff + 3, backtest.count))
        ]
        if found:
            squares.append(np.mean(found))
    return float(np.sqrt(np.mean(squares)))


def calibrate_split(
    backtest: Backtest, sizes: dict[int, np.ndarray], level: float
) -> ForecastError:
    """Returns the error model of log N* (and of log D*): how N* moved as budgets were added.

    Args:
        backtest: The same backtest.
        sizes: ``{cutoff: [members, budgets]}``, log N* of each member's fit at each budget.
        level: Nominal coverage of the intervals.
    """
    last = backtest.count
    plain = ForecastError(float(backtest.reach[-1]), _SPLIT_NOISE, _SPLIT_FORM, _POWER, 1.0, 1.0)
    settled = member_shares(backtest, last) @ sizes[last]
    square, weight = 0.0, 0.0
    for cutoff in backtest.cutoffs(last):
        share = member_shares(backtest, cutoff)
        mean = share @ sizes[cutoff]
        spread = np.sqrt(share @ (sizes[cutoff] - mean) ** 2)
        here = ForecastError(
            float(backtest.reach[cutoff - 1]), _SPLIT_NOISE, _SPLIT_FORM, _POWER, 1.0, 1.0
        )
        ratio = ((settled - mean) / here.scale(backtest.budgets, spread)) ** 2
        for budget in range(cutoff, last):
            counts = _COUNT * _FADE ** (last - 1 - budget) * _FADE_FAR ** (budget - cutoff)
            square += counts * min(float(ratio[budget]), _CAP)
            weight += counts
    scale = np.sqrt((PRIOR_COUNT + square) / (PRIOR_COUNT + weight))
    return _scaled(plain, float(scale), weight, level)
