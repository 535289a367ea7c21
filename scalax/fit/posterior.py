"""`--law posterior`: the prior over published laws, updated by the runs.

For few runs of an unknown kind, as after `scalax plan`: what papers agree on (how fast loss falls,
how N* grows) holds where the runs do not say otherwise. The form error of `form_error` weighs the
rows, a mixture takes out bad ones, and the answer is an ensemble of joint laws whose spread is the
uncertainty. Bayes' rule throughout, by quadrature: no sampling of chains, no jax.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.form_error import (
    FORMS,
    NOISES,
    SPLIT_FORM,
    RunPositions,
    error_covariance,
    noise_correlation,
    trunk_numbers,
)
from scalax.fit.prior import (
    BEND,
    LEVEL,
    RATIO,
    SHARE,
    SPLIT,
    GaussianPrior,
    coefficients,
    jacobian,
    log_loss,
    published_prior,
)
from scalax.fit.rows import compute_rule, evenly, ranges
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.ensemble_law import EnsembleMember
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.runs.diagnostics import bits_warnings
from scalax.runs.table import Runs

if TYPE_CHECKING:
    from scalax.fit.settings import FitSettings

NAME = "posterior"
_FEWEST_ROWS = 3
_MOST_ROWS = 150
_MEMBERS = 64
_ROUNDS = 5
_STARTS = (-1.0, 0.5, 2.0)
"""Log odds of the share from which each solve starts: little, some, or all can be removed."""
_NODES = np.array([-2.2, -1.4, -0.7, 0.0, 0.7, 1.4, 2.2])
"""RunPositions of the share tried about its best, in deviations: forecasts bend in it the most."""
_NEGLIGIBLE = 1e-3
_UNKNOWN_LEVEL = 3.0

# Of the rows that are no measurement of the law: how many, and how far they lie, mostly above
# (badly tuned, spikes), as exponential distributions of the log residual.
_BAD, _ABOVE, _BELOW, _UPWARD = 0.1, 0.03, 0.02, 0.85
_LEAST_TRUST = 0.003


@dataclass(frozen=True)
class Posterior:
    """GaussianPrior after runs, as weighted Gaussians.

    Attributes:
        anchor: Logarithm of the largest compute among the runs.
        theta: Centres, coordinates of `belief`, [nodes, 6].
        weights: [nodes], summing to 1.
        roots: ``L`` with ``L L'`` the covariance of each, [nodes, 6, 6].
        forms: Form error of each, [nodes].
        noises: Noise of each, [nodes].
        trust: Probability that a row measures the law, [rows].
    """

    anchor: float
    theta: np.ndarray
    weights: np.ndarray
    roots: np.ndarray
    forms: np.ndarray
    noises: np.ndarray
    trust: np.ndarray

    def draws(self, count: int, seed: int = 0) -> np.ndarray:
        """Coordinates [count, 6], even over the nodes' weights and mirrored about each centre."""
        half = -(-count // 2)
        ends = np.cumsum(self.weights)
        places = (np.arange(half) + 0.5) / half
        node = np.minimum(np.searchsorted(ends, places), len(ends) - 1)
        z = np.random.default_rng(seed).standard_normal((half, 6))
        away = np.einsum("kij,kj->ki", self.roots[node], z)
        theta = np.concatenate([self.theta[node] + away, self.theta[node] - away])[:count]
        theta[:, SPLIT] = np.clip(theta[:, SPLIT], 0.05, 0.95)
        return theta

    def belief(self) -> GaussianPrior:
        """The one Gaussian of the same mean and covariance."""
        mean = self.weights @ self.theta
        away = self.theta - mean
        inner = self.roots @ self.roots.transpose(0, 2, 1)
        covariance = np.einsum("k,kij->ij", self.weights, inner)
        return GaussianPrior(
            self.anchor, mean, covariance + np.einsum("k,ki,kj->ij", self.weights, away, away)
        )


@dataclass(frozen=True)
class _Problem:
    """Least squares of whitened residuals beside the prior.

    Attributes:
        size: Log FLOPs a token, [rows].
        tokens: Log tokens, [rows].
        measured: Log loss, [rows].
        believed: Before the runs.
    """

    size: np.ndarray
    tokens: np.ndarray
    measured: np.ndarray
    believed: GaussianPrior

    def residuals(self, theta: np.ndarray) -> np.ndarray:
        """[batch, rows]."""
        return self.measured - log_loss(theta, self.size, self.tokens, self.believed.anchor)

    def solve(
        self, theta: np.ndarray, whiten: np.ndarray, free: list[int], most_steps: int = 30
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Minimises minus the log posterior from each start by Levenberg and Marquardt.

        Args:
            theta: Starts, [batch, 6].
            whiten: Turns residuals into unit noise, [batch, rows, rows].
            free: The coordinates to move.
            most_steps: Iterations at most.

        Returns:
            theta, the value [batch], and the Gauss-Newton Hessian [batch, free, free].
        """
        precision = np.linalg.inv(self.believed.covariance)
        part = precision[np.ix_(free, free)]

        def value(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            r = np.einsum("bij,bj->bi", whiten, self.residuals(at))
            away = at - self.believed.mean
            held = np.einsum("bi,ij,bj->b", away, precision, away)
            total = 0.5 * (np.sum(r**2, axis=-1) + held)
            return r, np.where(np.isfinite(total), total, np.inf)

        r, best = value(theta)
        damping = np.full(len(theta), 1e-3)
        hessian = np.zeros((len(theta), len(free), len(free)))
        for step in range(most_steps):
            derivatives = jacobian(theta, self.size, self.tokens, self.believed.anchor)
            slopes = whiten @ derivatives[..., free]
            pulled = ((theta - self.believed.mean) @ precision)[:, free]
            downhill = np.einsum("brk,br->bk", slopes, r) - pulled
            hessian = slopes.transpose(0, 2, 1) @ slopes + part
            diagonal = np.einsum("bkk->bk", hessian)
            damped = hessian + (damping[:, None] * diagonal)[:, :, None] * np.eye(len(free))
            move = np.clip(np.linalg.solve(damped, downhill[..., None])[..., 0], -1, 1)
            tried = theta.copy()
            tried[:, free] += move
            tried[:, SPLIT] = np.clip(tried[:, SPLIT], 0.03, 0.97)
            new_r, new = value(tried)
            won = new < best
            fall = np.max(np.where(won, best - new, 0.0))
            theta = np.where(won[:, None], tried, theta)
            r, best = np.where(won[:, None], new_r, r), np.where(won, new, best)
            damping = np.where(won, damping / 8, damping * 8)
            if fall < 1e-4 and step > 4:
                break
        return theta, best, hessian


def update(
    flops: np.ndarray,
    tokens: np.ndarray,
    loss: np.ndarray,
    trunks: np.ndarray | None = None,
    before: Callable[[float], GaussianPrior] = published_prior,
) -> Posterior:
    """GaussianPrior after runs.

    Args:
        flops: Compute of each, [rows].
        tokens: Tokens of each, [rows].
        loss: Measured loss of each, [rows].
        trunks: A number for each trunk and each run alone, [rows]; by default all are alone.
        before: The belief before the runs, at an anchor; its level is left to them.
    """
    anchor = float(np.log(flops.max()))
    believed = _of_unknown_level(before(anchor), float(np.log(loss[np.argmax(flops)])))
    size, log_tokens = np.log(flops / tokens), np.log(tokens)
    problem = _Problem(size, log_tokens, np.log(loss), believed)
    rows, pairs = len(loss), len(FORMS) * len(NOISES)
    correlation = noise_correlation(np.arange(rows) if trunks is None else trunks)
    theta = np.repeat(believed.mean[None], pairs * len(_STARTS), axis=0)
    theta[:, SHARE] = np.tile(_STARTS, pairs)
    forms, noises = np.repeat(FORMS, len(NOISES)), np.tile(NOISES, len(FORMS))
    centre, trust = believed.mean, np.ones(rows)
    everything = list(range(6))
    for step in range(_ROUNDS):
        best_size = (anchor - centre[RATIO]) / 2 + centre[SPLIT] * (size + log_tokens - anchor)
        positions = RunPositions(
            anchor - size - log_tokens, size - best_size, size, np.exp(centre[BEND, None])[0]
        )
        model_error = error_covariance(positions, forms[:, None, None])
        spoilt = 1 / trust - 1
        covariance = model_error + noises[:, None, None] ** 2 * (correlation + np.diag(spoilt))
        root = np.linalg.cholesky(covariance)
        whiten = np.linalg.inv(root)
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        starts = len(theta) // pairs
        theta, value, hessian = problem.solve(theta, np.repeat(whiten, starts, axis=0), everything)
        best = np.argmin(value.reshape(pairs, starts), axis=1) + starts * np.arange(pairs)
        theta, value, hessian = theta[best], value[best], hessian[best]
        log_weight = -value - log_volume - 0.5 * np.linalg.slogdet(hessian)[1]
        weights = np.exp(log_weight - log_weight.max())
        weights /= weights.sum()
        centre = weights @ theta
        if step < _ROUNDS - 1:
            k = int(np.argmax(log_weight))
            trust = _trust(problem.residuals(theta[k : k + 1])[0], whiten[k], noises[k], spoilt)
    kept = weights > _NEGLIGIBLE
    theta, hessian, whiten = theta[kept], hessian[kept], whiten[kept]
    log_volume, forms, noises = log_volume[kept], forms[kept], noises[kept]

    deviation = np.sqrt(np.linalg.inv(hessian)[:, SHARE, SHARE])
    count = len(_NODES)
    nodes = np.repeat(theta, count, axis=0)
    nodes[:, SHARE] += np.outer(deviation, _NODES).ravel()
    others = [k for k in everything if k != SHARE]
    nodes, value, hessian = problem.solve(nodes, np.repeat(whiten, count, axis=0), others)
    log_weight = (
        -value
        - 0.5 * np.linalg.slogdet(hessian)[1]
        + np.repeat(np.log(deviation) - log_volume, count)
    )
    weights = np.exp(log_weight - log_weight.max())
    roots = np.zeros((len(nodes), 6, 6))
    roots[np.ix_(range(len(nodes)), others, others)] = np.linalg.cholesky(np.linalg.inv(hessian))
    return Posterior(
        anchor,
        nodes,
        weights / weights.sum(),
        roots,
        np.repeat(forms, count),
        np.repeat(noises, count),
        trust,
    )


def _of_unknown_level(belief: GaussianPrior, level: float) -> GaussianPrior:
    """The belief with the level left to the rows: losses have many units."""
    mean, covariance = belief.mean.copy(), belief.covariance.copy()
    mean[LEVEL] = level
    covariance[LEVEL, LEVEL] = _UNKNOWN_LEVEL**2
    return GaussianPrior(belief.anchor, mean, covariance)


def _trust(r: np.ndarray, whiten: np.ndarray, deviation: float, spoilt: np.ndarray) -> np.ndarray:
    """The probability that each row measures the law, given what all the others say of it."""
    inverse = whiten.T @ whiten
    pull = np.diagonal(inverse)
    left_out = (inverse @ r) / pull
    variance = np.maximum(1 / pull - deviation**2 * spoilt, deviation**2)
    good = (1 - _BAD) * np.exp(-0.5 * left_out**2 / variance) / np.sqrt(2 * np.pi * variance)
    bad = _BAD * np.where(
        left_out > 0,
        _UPWARD * np.exp(-np.abs(left_out) / _ABOVE) / _ABOVE,
        (1 - _UPWARD) * np.exp(-np.abs(left_out) / _BELOW) / _BELOW,
    )
    return np.asarray(np.clip(good / (good + bad), _LEAST_TRUST, 1.0))


def trunks_of(runs: Runs) -> np.ndarray:
    """A number for each trunk, and another for each run without one."""
    names = runs.columns.get("trunk")
    if names is None:
        return np.arange(len(runs))
    return trunk_numbers([n if isinstance(n, str) and n else None for n in names.tolist()])


def posterior_of(
    runs: Runs, metric: str = "loss", before: Callable[[float], GaussianPrior] = published_prior
) -> tuple[Posterior, Runs]:
    """GaussianPrior after the rows of a cleaned table, and the rows used: at most 150.

    Args:
        runs: The table.
        metric: The column that the law is of.
        before: The belief before the rows, at an anchor; its level is left to them.

    Raises:
        ScalaxError: Fewer than three rows.
    """
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows", where=runs.source, fix=f"give at least {_FEWEST_ROWS} runs"
        )
    if len(runs) > _MOST_ROWS:
        order = np.argsort(runs["flops"], kind="stable")
        picked = order[np.linspace(0, len(runs) - 1, _MOST_ROWS).round().astype(int)]
        runs = runs.where(picked).noted(f"used an even sample of {_MOST_ROWS} of {len(runs)} rows")
    return update(runs["flops"], runs["tokens"], runs[metric], trunks_of(runs), before), runs


def fit_posterior(runs: Runs, settings: FitSettings) -> Fit:
    """The prior updated by a table that is already checked and cleaned, as a fit.

    Raises:
        ScalaxError: Too few rows, or a setting that is of one law.
    """
    from scalax.fit.calibration import student_quantile

    started = time.perf_counter()
    settings.reject_settings_of_one_law()
    found, used = posterior_of(runs, settings.metric)
    rule = compute_rule(used)
    theta = found.draws(_MEMBERS, settings.seed)
    listed = coefficients(theta, found.anchor, rule)
    quantile = student_quantile(settings.level, 30.0)
    form = math.sqrt(float(found.weights @ found.forms**2) / 3)
    deviation = float(found.weights @ found.noises)
    reach = math.exp(found.anchor)
    size, log_tokens = np.log(used["flops"] / used["tokens"]), np.log(used["tokens"])
    fitted = found.weights @ log_loss(found.theta, size, log_tokens, found.anchor)
    residuals = np.log(used[settings.metric]) - fitted
    notes = [
        *used.notes,
        "the prior is that of published language-model laws; where the rows are few it decides",
    ]
    doubted = np.flatnonzero(found.trust < 0.5)
    if len(doubted):
        lines = ", ".join(str(int(used.lines[k])) for k in doubted[:10])
        notes.append(f"{len(doubted)} rows count for little, as they fit no smooth law: {lines}")
    if settings.metric == "loss":
        notes += bits_warnings(used, residuals)
    return Fit(
        law=ENSEMBLE,
        coefficients=None,
        rows=len(runs),
        seconds=time.perf_counter() - started,
        level=settings.level,
        compute=rule,
        ranges=ranges(runs),
        residuals=evenly(np.sort(residuals)),
        settings=settings.to_json(),
        source=runs.source,
        notes=notes,
        members=[
            EnsembleMember("joint", "flat", 1 / len(listed), coefficients_k)
            for coefficients_k in listed
        ],
        error=ForecastError(reach, deviation, form, 1.5, 1.0, quantile),
        split_error=ForecastError(reach, 0.0, SPLIT_FORM * form, 1.5, 1.0, quantile),
    )
