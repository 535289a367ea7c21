"""The prior over scaling laws: a Gaussian over six coordinates of a law.

Coefficients such as A and B are correlated and have no common scale across sweeps. The coordinates
describe any law of params and tokens at one budget, the anchor, and they determine the joint form
(`scalax.laws.joint`). This module reads no runs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from scalax.laws.published import published
from scalax.predict.fit_result import Fit
from scalax.predict.protocol import LossLaw, ScalingLaw
from scalax.predict.published_law import published_fit

LEVEL, SLOPE, SHARE, SPLIT, RATIO, BEND = range(6)
"""The coordinates, at the anchor, along and across the frontier of best splits:

- LEVEL: logarithm of the loss,
- SLOPE: logarithm of -d log loss / d log compute,
- SHARE: log odds of the part of the loss that compute can still remove,
- SPLIT: exponent of N* in compute (strictly, of FLOPs a token),
- RATIO: logarithm of tokens over FLOPs a token,
- BEND: logarithm of d2 log loss / d (log size)2 at fixed compute.
"""
COORDINATES = ("level", "slope", "share", "split", "ratio", "bend")

_STEP = 1.0  # e-folds of compute between the budgets at which a law is read
_ACROSS = 0.25  # e-folds of size between the points that show the bend
_TINY = 1e-5
_COVERED = (math.log(1e17), math.log(1e22))
"""Range of the papers' budgets, roughly; outside it the prior of the nearest budget is used."""
_NO_FLOOR = 0.95
"""Share of the loss used for a law without a floor, whose log odds are infinite."""
_BROADER = 1.25
"""Factor on the deviation among the papers, which are few and of one field."""
_LEAST = np.array([0.5, 0.35, 1.2, 0.05, 0.9, 0.4])
"""The least deviation of the prior: what sweeps unlike the papers' need (bytes, images)."""
_TRUSTED = np.array([0.03, 0.1, 0.4, 0.03, 0.35, 0.2])
"""Deviation about a named law: the uncertainty of its own fit. Besiroglu et al. 2024 (table 1)
print standard errors of 0.02 for both exponents and 0.03 for E, and their estimate moves
Hoffmann et al.'s split by 0.06 and tokens per parameter by 0.3 e-folds from the same rows."""


@dataclass(frozen=True)
class GaussianPrior:
    """A Gaussian over the coordinates at an anchor.

    Attributes:
        anchor: Logarithm of a compute budget in FLOPs.
        mean: [6].
        covariance: [6, 6].
    """

    anchor: float
    mean: np.ndarray
    covariance: np.ndarray

    def draws(self, count: int, seed: int = 0) -> np.ndarray:
        """Returns draws [count, 6], in pairs that are symmetric about the mean."""
        half = np.random.default_rng(seed).standard_normal((-(-count // 2), 6))
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(6))
        away = np.concatenate([half, -half])[:count] @ root.T
        return self.mean + away


def log_loss(theta: np.ndarray, size: np.ndarray, tokens: np.ndarray, anchor: float) -> np.ndarray:
    """Returns the joint law's log loss from coordinates.

    With s = bend / slope the sum of both exponents, it is a floor beside (N-term + D-term)^gamma,
    alpha = (1 - split) s, beta = split s, gamma = slope^2 / (share bend split (1 - split)).

    Args:
        theta: Coordinates, [..., 6].
        size: Logarithm of FLOPs a token, [rows].
        tokens: Logarithm of tokens, [rows].
        anchor: Logarithm of compute.

    Returns:
        [..., rows].
    """
    level, slope, odds, split, ratio, bend = (theta[..., k, None] for k in range(6))
    split = np.clip(split, 0.02, 0.98)
    share = 1 / (1 + np.exp(-odds))
    total = np.exp(bend - slope)
    gamma = np.exp(2 * slope - bend) / (share * split * (1 - split))
    by_size = np.log(split) - (1 - split) * total * (size - (anchor - ratio) / 2)
    by_tokens = np.log(1 - split) - split * total * (tokens - (anchor + ratio) / 2)
    away = np.clip(gamma * np.logaddexp(by_size, by_tokens), -50, 50)
    return np.asarray(level + np.log(1 - share + share * np.exp(away)))


def jacobian(theta: np.ndarray, size: np.ndarray, tokens: np.ndarray, anchor: float) -> np.ndarray:
    """Returns central differences of `log_loss` by the coordinates, [..., rows, 6]."""
    steps = _TINY * np.eye(6)
    ends = [
        [log_loss(theta + side * step, size, tokens, anchor) for side in (-1, 1)] for step in steps
    ]
    return np.stack([(high - low) / (2 * _TINY) for low, high in ends], axis=-1)


def along_frontier(theta: np.ndarray, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best split's log FLOPs a token, minus half the anchor, and its log loss.

    Args:
        theta: Coordinates, [..., 6].
        beyond: Log compute above the anchor.
    """
    share = 1 / (1 + np.exp(-theta[..., SHARE]))
    left = share * np.exp(-np.exp(theta[..., SLOPE]) / share * beyond)
    best = theta[..., SPLIT] * beyond - theta[..., RATIO] / 2
    return np.asarray(best), np.asarray(theta[..., LEVEL] + np.log(1 - share + left))


def shift_anchor(theta: np.ndarray, beyond: float) -> np.ndarray:
    """Returns the laws' coordinates [..., 6] at an anchor ``beyond`` e-folds above."""
    best, level = along_frontier(theta, beyond)
    share = 1 / (1 + np.exp(-theta[..., SHARE]))
    decay = np.exp(theta[..., SLOPE]) / share
    later = np.clip(share * np.exp(-decay * beyond + theta[..., LEVEL] - level), 1e-4, 1 - 1e-4)
    slope = np.log(later * decay)
    bend = theta[..., BEND] - theta[..., SLOPE] + slope
    odds = np.log(later / (1 - later))
    return np.stack([level, slope, odds, theta[..., SPLIT], beyond - 2 * best, bend], axis=-1)


def coefficients(theta: np.ndarray, anchor: float, rule: ComputeRule) -> list[dict[str, float]]:
    """Returns the joint law's coefficients for each row of theta [laws, 6]."""
    level, slope, odds, split, ratio, bend = theta.T
    split = np.clip(split, 0.02, 0.98)
    share = 1 / (1 + np.exp(-odds))
    total = np.exp(bend - slope)
    gamma = np.exp(2 * slope - bend) / (share * split * (1 - split))
    log_removable = (level + np.log(share)) / gamma
    alpha, beta = (1 - split) * total, split * total
    log_a = log_removable + np.log(split) + alpha * (anchor - ratio) / 2
    log_b = log_removable + np.log(1 - split) + beta * (anchor + ratio) / 2
    found = {
        "E": np.exp(level) * (1 - share),
        "A": np.exp(log_a - alpha * math.log(rule.coefficient)),
        "B": np.exp(log_b),
        "alpha": alpha * rule.exponent,
        "beta": beta,
        "gamma": gamma,
    }
    return [{name: float(v[k]) for name, v in found.items()} for k in range(len(theta))]


def coordinates(law: ScalingLaw, anchor: float) -> np.ndarray:
    """Returns the coordinates of a law at an anchor, [6]; NaN where the law does not define them.

    They follow from its answers at three budgets, so that any law of params and tokens works. The
    floor is that of the power law through the three losses.
    """
    rule = law.compute
    budgets = np.exp(anchor + _STEP * np.array([-1.0, 0.0, 1.0]))
    sizes = []
    for budget in budgets:
        answer = law.allocate(float(budget))
        sizes.append(math.log(answer.flops / answer.tokens))
    split = (sizes[2] - sizes[0]) / (2 * _STEP)
    ratio = anchor - 2 * sizes[1]
    loss = law.loss_law
    found = np.full(6, np.nan)
    found[[SPLIT, RATIO]] = split, ratio
    if loss is None:
        return found

    def at(budget: float, size: float) -> float:
        params = (math.exp(size) / rule.coefficient) ** (1 / rule.exponent)
        return float(
            np.log(
                loss.loss(
                    **loss.form.complete({"params": params, "tokens": budget / math.exp(size)})
                )
            )
        )

    logs = [min(at(b, s) for s in _best_sizes(loss, float(b))) for b in budgets]
    best = _best_sizes(loss, float(budgets[1]))[0]
    across = [at(float(budgets[1]), best + step) for step in (-_ACROSS, 0.0, _ACROSS)]
    low, mid, high = np.exp(logs)
    bowed = low + high - 2 * mid
    floor = (low * high - mid**2) / bowed if bowed > 0 else 0.0
    share = min(max(1 - floor / mid, 0.02), _NO_FLOOR)
    slope = max((logs[0] - logs[2]) / (2 * _STEP), 1e-6)
    bend = max((across[0] + across[2] - 2 * across[1]) / _ACROSS**2, 1e-6)
    found[[LEVEL, SLOPE, SHARE, BEND]] = (
        logs[1],
        math.log(slope),
        math.log(share / (1 - share)),
        math.log(bend),
    )
    return found


def _best_sizes(loss: LossLaw, budget: float) -> list[float]:
    params, _ = loss.form.allocate(loss.coefficients or {}, budget, loss.compute)
    return [math.log(loss.compute.coefficient) + loss.compute.exponent * math.log(float(params))]


@functools.lru_cache(maxsize=64)
def published_prior(anchor: float) -> GaussianPrior:
    """Returns a broad prior from the published laws, at an anchor.

    Each paper counts once. The deviation is that among the papers times a factor, with a lower
    limit for sweeps unlike theirs.

    Example:
        >>> belief = published_prior(math.log(1e18))
        >>> [f"{v:.2f}" for v in (belief.mean[SPLIT], belief.covariance[SPLIT, SPLIT] ** 0.5)]
        ['0.53', '0.11']
    """
    near = min(max(anchor, _COVERED[0]), _COVERED[1])
    papers: dict[str, list[np.ndarray]] = {}
    for name, entry in published().items():
        if "allocation" in entry.gives:
            papers.setdefault(entry.paper, []).append(coordinates(published_fit(name), near))
    means = np.asarray([_mean(np.asarray(found)) for found in papers.values()])
    deviation = np.maximum(_BROADER * np.nanstd(means, axis=0, ddof=1), _LEAST)
    return GaussianPrior(anchor, np.nanmean(means, axis=0), np.diag(deviation**2))


def _mean(rows: np.ndarray) -> np.ndarray:
    """Returns the mean of each column's finite numbers; NaN where it has none."""
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def prior_of_law(law: ScalingLaw, anchor: float) -> GaussianPrior:
    """Returns a prior centred on a named law or a fit, at an anchor.

    The uncertainty of a fit with members or bootstrap samples comes on top.

    Raises:
        ScalaxError: The law has no loss of params and tokens.
    """
    fit = law.require_loss()
    if not {"params", "tokens"} <= set(fit.form.columns):
        raise ScalaxError(
            f"{fit.law} is a law of {' and '.join(fit.form.columns)}: runs of many sizes and "
            "token counts are planned by a law of both",
            where="--law",
            fix="give a law of params and tokens, such as hoffmann2022, or prior",
        )
    covariance = np.diag(_TRUSTED**2)
    mean = coordinates(law, anchor)
    singles = _singles(fit)
    if len(singles) > 1:
        each = np.asarray([coordinates(single, anchor) for single in singles])
        shares = np.asarray([m.share for m in fit.members]) if fit.members else None
        spread = np.cov(each.T, aweights=shares)
        if np.isfinite(spread).all():
            covariance = covariance / 4 + spread
            mean = np.average(each, axis=0, weights=shares)
    return GaussianPrior(anchor, mean, covariance)


def _singles(fit: LossLaw) -> list[Fit]:
    """Returns the laws whose spread is the fit's uncertainty."""
    if fit.members:
        return [Fit(m.law, m.coefficients, compute=fit.compute) for m in fit.members]
    names = [c.name for c in fit.form.coefficients]
    some = fit.samples[:: max(1, len(fit.samples) // 64)]
    return [Fit(fit.law, dict(zip(names, row, strict=True)), compute=fit.compute) for row in some]
