"""Evaluates backtests: the share of each member, and the error model of a forecast.

At every cutoff, the shares come from the budgets below it. The ensemble with these shares then
forecasts the budgets from the cutoff on, and only such out-of-sample errors set the width of the
intervals. This module fits no law.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float
from scalax.fit.backtest import Backtest
from scalax.predict.forecast_error import ForecastError

_PRIOR_SHARE = {"flat": 0.5, "compute": 1.0, "flops": 1.5}
"""Prior share by row weighting: more for those that favour larger runs."""
_PRIOR_SHARE_OF_LAW = {"chinchilla": 1.3, "kaplan": 0.5}
"""Factor on the prior share by law: more for forms with a floor."""
_SHARPNESS = 4.0
"""The shares are proportional to the error to the power of minus this."""
_RECENT = 0.6
"""Weight of a cutoff relative to the next later one."""
_FEW = 1.0
"""Total weight of backtest errors at which they count as much as the prior shares."""
_SLIGHT = 5e-4
"""Log error below which members are not distinguished."""
_SHORT = 0.3
"""Least extrapolation distance in e-folds; errors are divided by the root of the distance."""

_NOISE = 1.4
"""Ratio of `ForecastError.noise` to the scatter of residuals."""
_FORM = 0.004
"""`ForecastError.form` before it is scaled by backtests."""
_POWER = 0.75
"""`ForecastError.power`."""
_DOUBT = 0.75
"""`ForecastError.doubt` before it is scaled by backtests."""
_LEAST_NOISE = 3e-4
"""Lower limit of the scatter of residuals, in log units."""
_USUAL_NOISE = 0.003
"""Scatter assumed where no budget has the three rows needed to measure it."""
_SPLIT_NOISE, _SPLIT_FORM = 0.03, 0.06
"""`ForecastError.noise` and `.form` of log N* before they are scaled by backtests."""

PRIOR_SCALE = 1.25
"""Factor on the error model for a sweep without backtests. Public sweeps without their two largest
budgets gave 1.09 (`python tools/bench_forecast.py --learn`); the value is a little higher, for
sweeps unlike them."""
ALONE_SCALE = 2.0
"""The same factor for a single law that the user named, fitted without priors."""
PRIOR_COUNT = 5.0
"""Weight of the prior scale against backtest errors, each of which weighs at most `_COUNT`."""
_COUNT = 0.3
"""Weight of one backtest error: the errors are correlated."""
_FADE, _FADE_FAR = 0.8, 0.7
"""Factors on that weight for each budget between the forecast budget and the last one, and between
the cutoff and the forecast budget."""
_CAP = 9.0
"""Upper limit of a squared ratio of error to scale."""
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
        error: The error model, not yet scaled by backtests.
    """

    shares: Float[np.ndarray, " members"]
    log_loss: Float[np.ndarray, " rows"]
    spread: Float[np.ndarray, " rows"]
    error: ForecastError


def member_shares(backtest: Backtest, before: int) -> Float[np.ndarray, " members"]:
    """Returns the share of each member, from its errors at the budgets below a cutoff.

    A share is the prior share times the member's error to the power of -4. Errors at later cutoffs
    count more; with few cutoffs the shares stay near the prior shares.

    Args:
        backtest: Forecasts of every member.
        before: Only budgets below this number are used.

    Returns:
        The shares [members], which sum to 1.
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
    rows = backtest.budget == budget
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
    """Returns the robust standard deviation of the residuals, a median over the last 3 budgets."""
    scatters = []
    for budget in range(max(0, cutoff - 3), cutoff):
        r = (backtest.log_measured - mean)[backtest.budget == budget]
        if len(r) >= 3:
            scatters.append(_ROBUST * float(np.median(np.abs(r - np.median(r)))))
    return float(np.median(scatters)) if scatters else _USUAL_NOISE


def calibrate(
    backtest: Backtest, cutoff: int, level: float, *, prior_scale: float = PRIOR_SCALE
) -> tuple[EnsembleForecast, ForecastError]:
    """Returns the ensemble at a cutoff, and its error model scaled by errors at earlier cutoffs.

    Args:
        backtest: Forecasts of every member.
        cutoff: Only budgets below this number are used.
        level: Nominal coverage of the intervals.
        prior_scale: Factor on the error model without backtests; with few, the factor stays near.

    Returns:
        The ensemble's forecast, and its error model.
    """
    square, weight = 0.0, 0.0
    for earlier in backtest.cutoffs(cutoff):
        for budget, error in _scaled_errors(backtest, earlier, cutoff):
            count = _COUNT * _FADE ** (cutoff - 1 - budget) * _FADE_FAR ** (budget - earlier)
            square += count * min(error, _CAP)
            weight += count
    scale = np.sqrt((PRIOR_COUNT * prior_scale**2 + square) / (PRIOR_COUNT + weight))
    forecast = forecast_at(backtest, cutoff)
    return forecast, _scaled(forecast.error, float(scale), weight, level)


def _scaled_errors(backtest: Backtest, cutoff: int, before: int) -> list[tuple[int, float]]:
    """Returns the mean squared ratio of error to scale for each budget from a cutoff on."""
    forecast = forecast_at(backtest, cutoff)
    scale = forecast.error.scale(backtest.scale, forecast.spread)
    ratio = ((backtest.log_measured - forecast.log_loss) / scale) ** 2
    return [(j, float(ratio[backtest.budget == j].mean())) for j in range(cutoff, before)]


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
    """Returns the half width of the central interval of Student's t distribution.

    Args:
        level: Coverage of the interval, between 0 and 1.
        freedom: Degrees of freedom.

    Example:
        >>> round(student_quantile(0.9, 5.0), 4)
        2.015
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def learned_scale(backtests: list[Backtest]) -> float:
    """Returns the root mean square ratio of error to scale; each sweep has the same weight."""
    squares = []
    for backtest in backtests:
        ratios = [
            min(error, _CAP)
            for cutoff in backtest.cutoffs(backtest.count)
            if cutoff >= 3
            for _, error in _scaled_errors(backtest, cutoff, min(cutoff + 3, backtest.count))
        ]
        if ratios:
            squares.append(np.mean(ratios))
    return float(np.sqrt(np.mean(squares)))


def calibrate_split(
    backtest: Backtest, sizes: dict[int, Float[np.ndarray, "members budgets"]], level: float
) -> ForecastError:
    """Returns the error model of log N*, which log D* shares.

    N* cannot be measured. The fit to all budgets takes the place of a measurement, and the earlier
    fits are compared with it.

    Args:
        backtest: Forecasts of every member.
        sizes: Log N* at each budget by each member's fit, by cutoff, [members, budgets].
        level: Nominal coverage of the intervals.
    """
    last = backtest.count
    unscaled = ForecastError(float(backtest.reach[-1]), _SPLIT_NOISE, _SPLIT_FORM, _POWER, 1.0, 1.0)
    final = member_shares(backtest, last) @ sizes[last]
    square, weight = 0.0, 0.0
    for cutoff in backtest.cutoffs(last):
        share = member_shares(backtest, cutoff)
        mean = share @ sizes[cutoff]
        spread = np.sqrt(share @ (sizes[cutoff] - mean) ** 2)
        error = ForecastError(
            float(backtest.reach[cutoff - 1]), _SPLIT_NOISE, _SPLIT_FORM, _POWER, 1.0, 1.0
        )
        ratio = ((final - mean) / error.scale(backtest.budgets, spread)) ** 2
        for budget in range(cutoff, last):
            count = _COUNT * _FADE ** (last - 1 - budget) * _FADE_FAR ** (budget - cutoff)
            square += count * min(float(ratio[budget]), _CAP)
            weight += count
    scale = np.sqrt((PRIOR_COUNT + square) / (PRIOR_COUNT + weight))
    return _scaled(unscaled, float(scale), weight, level)
