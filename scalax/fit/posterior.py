"""Updates the prior over published laws with runs, by Bayes' rule.

Few runs determine how fast the loss falls and how N* grows only poorly; there the prior decides.
`scalax.fit.form_error` has the covariance of the rows' errors, and a mixture identifies bad rows.
The integrals are computed by quadrature, without Monte Carlo chains and without jax.
`scalax.fit.posterior_fit` applies this module to a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from scalax.array_types import Float, Int
from scalax.fit.form_error import (
    FORMS,
    NOISES,
    RunPositions,
    error_covariance,
    noise_correlation,
)
from scalax.fit.prior import (
    BEND,
    LEVEL,
    RATIO,
    SHARE,
    SPLIT,
    GaussianPrior,
    jacobian,
    log_loss,
    published_prior,
)

_ALL = list(range(6))
"""All coordinates."""
_ROUNDS = 5
"""Rounds of fitting the law and then estimating which rows to trust."""
_STARTS = (-1.0, 0.5, 2.0)
"""Log odds of the removable share of the loss from which each solve starts: small to large."""
_NODES = np.array([-2.2, -1.4, -0.7, 0.0, 0.7, 1.4, 2.2])
"""Offsets of the share's log odds from its mode, in standard deviations. The share has nodes of
its own because forecasts are least linear in it."""
_NEGLIGIBLE = 1e-3
"""Weight below which a pair of form error and noise is dropped."""
_UNKNOWN_LEVEL = 3.0
"""Prior deviation of the log loss at the anchor: losses have many units."""
_BAD = 0.1
"""Prior probability that a row does not follow the law (bad tuning, loss spikes)."""
_ABOVE, _BELOW = 0.03, 0.02
"""Mean absolute log residual of such rows above and below the law, exponentially distributed."""
_UPWARD = 0.85
"""Probability that such a row is above the law."""
_LEAST_TRUST = 0.003
"""Least probability that a row follows the law."""


@dataclass(frozen=True)
class Posterior:
    """The distribution of a law's coordinates after runs, as weighted Gaussians.

    Attributes:
        anchor: Logarithm of the largest compute among the runs.
        theta: Means of the Gaussians, in the coordinates of `scalax.fit.prior`, [nodes, 6].
        weights: Weights of the Gaussians, [nodes], summing to 1.
        roots: Square roots L of the covariances L L', [nodes, 6, 6].
        forms: Form error of each Gaussian, [nodes].
        noises: Relative noise of a measured loss for each Gaussian, [nodes].
        trust: Probability that a row follows the law, [rows].
    """

    anchor: float
    theta: Float[np.ndarray, "nodes 6"]
    weights: Float[np.ndarray, " nodes"]
    roots: Float[np.ndarray, "nodes 6 6"]
    forms: Float[np.ndarray, " nodes"]
    noises: Float[np.ndarray, " nodes"]
    trust: Float[np.ndarray, " rows"]

    def draws(self, count: int, seed: int = 0) -> Float[np.ndarray, "count 6"]:
        """Returns draws [count, 6]: spread evenly over the weights, in pairs about each mean."""
        half = -(-count // 2)
        ends = np.cumsum(self.weights)
        quantiles = (np.arange(half) + 0.5) / half
        node = np.minimum(np.searchsorted(ends, quantiles), len(ends) - 1)
        z = np.random.default_rng(seed).standard_normal((half, 6))
        away = np.einsum("kij,kj->ki", self.roots[node], z)
        theta = np.concatenate([self.theta[node] + away, self.theta[node] - away])[:count]
        theta[:, SPLIT] = np.clip(theta[:, SPLIT], 0.05, 0.95)
        return theta

    def as_gaussian(self) -> GaussianPrior:
        """Returns the Gaussian with the same mean and covariance."""
        mean = self.weights @ self.theta
        away = self.theta - mean
        inner = self.roots @ self.roots.transpose(0, 2, 1)
        covariance = np.einsum("k,kij->ij", self.weights, inner)
        return GaussianPrior(
            self.anchor, mean, covariance + np.einsum("k,ki,kj->ij", self.weights, away, away)
        )


@dataclass(frozen=True)
class _Problem:
    """A least-squares problem: whitened residuals of the runs plus a Gaussian prior.

    Attributes:
        size: Logarithm of FLOPs per token, [rows].
        tokens: Logarithm of tokens, [rows].
        measured: Logarithm of the measured loss, [rows].
        prior: The prior on the coordinates.
    """

    size: Float[np.ndarray, " rows"]
    tokens: Float[np.ndarray, " rows"]
    measured: Float[np.ndarray, " rows"]
    prior: GaussianPrior

    def residuals(self, theta: Float[np.ndarray, "batch 6"]) -> Float[np.ndarray, "batch rows"]:
        """Returns the log residuals, measured minus predicted, [batch, rows]."""
        return self.measured - log_loss(theta, self.size, self.tokens, self.prior.anchor)

    def solve(
        self,
        theta: Float[np.ndarray, "batch 6"],
        whiten: Float[np.ndarray, "batch rows rows"],
        free: list[int],
        most_steps: int = 30,
    ) -> tuple[
        Float[np.ndarray, "batch 6"],
        Float[np.ndarray, " batch"],
        Float[np.ndarray, "batch free free"],
    ]:
        """Minimises minus the log posterior from each start by the Levenberg-Marquardt method.

        Args:
            theta: Starts, [batch, 6].
            whiten: Turns residuals into unit noise, [batch, rows, rows].
            free: Indices of the coordinates to vary.
            most_steps: Maximum number of iterations.

        Returns:
            theta, the value [batch], and the Gauss-Newton Hessian [batch, free, free].
        """
        precision = np.linalg.inv(self.prior.covariance)
        part = precision[np.ix_(free, free)]

        def value(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            r = np.einsum("bij,bj->bi", whiten, self.residuals(at))
            away = at - self.prior.mean
            penalty = np.einsum("bi,ij,bj->b", away, precision, away)
            total = 0.5 * (np.sum(r**2, axis=-1) + penalty)
            return r, np.where(np.isfinite(total), total, np.inf)

        r, best = value(theta)
        damping = np.full(len(theta), 1e-3)
        hessian = np.zeros((len(theta), len(free), len(free)))
        for step in range(most_steps):
            derivatives = jacobian(theta, self.size, self.tokens, self.prior.anchor)
            slopes = whiten @ derivatives[..., free]
            pulled = ((theta - self.prior.mean) @ precision)[:, free]
            downhill = np.einsum("brk,br->bk", slopes, r) - pulled
            hessian = slopes.transpose(0, 2, 1) @ slopes + part
            diagonal = np.einsum("bkk->bk", hessian)
            damped = hessian + (damping[:, None] * diagonal)[:, :, None] * np.eye(len(free))
            move = np.clip(np.linalg.solve(damped, downhill[..., None])[..., 0], -1, 1)
            trial = theta.copy()
            trial[:, free] += move
            trial[:, SPLIT] = np.clip(trial[:, SPLIT], 0.03, 0.97)
            new_r, new = value(trial)
            better = new < best
            fall = np.max(np.where(better, best - new, 0.0))
            theta = np.where(better[:, None], trial, theta)
            r, best = np.where(better[:, None], new_r, r), np.where(better, new, best)
            damping = np.where(better, damping / 8, damping * 8)
            if fall < 1e-4 and step > 4:
                break
        return theta, best, hessian


def update(
    flops: Float[np.ndarray, " rows"],
    tokens: Float[np.ndarray, " rows"],
    loss: Float[np.ndarray, " rows"],
    trunks: Int[np.ndarray, " rows"] | None = None,
    before: Callable[[float], GaussianPrior] = published_prior,
) -> Posterior:
    """Updates a prior with runs.

    Args:
        flops: Training compute of each run in FLOPs, [rows].
        tokens: Training tokens of each run, [rows].
        loss: Measured loss of each run, [rows].
        trunks: Numbers that are equal for runs of one trunk, [rows]; by default no run shares one.
        before: The prior as a function of the anchor. Its level is replaced by a broad one.

    Returns:
        The posterior at the anchor of the largest run.
    """
    anchor = float(np.log(flops.max()))
    prior = _with_unknown_level(before(anchor), float(np.log(loss[np.argmax(flops)])))
    problem = _Problem(np.log(flops / tokens), np.log(tokens), np.log(loss), prior)
    correlation = noise_correlation(np.arange(len(loss)) if trunks is None else trunks)
    modes, trust = _find_modes(problem, correlation)
    return _integrate_share(problem, modes, trust)


@dataclass(frozen=True)
class _Modes:
    """The most probable coordinates for each pair of form error and noise.

    Attributes:
        theta: Coordinates, [pairs, 6].
        hessian: Hessian of minus the log posterior, [pairs, 6, 6].
        whiten: Turns residuals into unit noise, [pairs, rows, rows].
        log_volume: Logarithm of the determinant of the noise's Cholesky root, [pairs].
        forms: Form error, [pairs].
        noises: Noise, [pairs].
    """

    theta: Float[np.ndarray, "pairs 6"]
    hessian: Float[np.ndarray, "pairs 6 6"]
    whiten: Float[np.ndarray, "pairs rows rows"]
    log_volume: Float[np.ndarray, " pairs"]
    forms: Float[np.ndarray, " pairs"]
    noises: Float[np.ndarray, " pairs"]

    def take(self, mask: np.ndarray) -> _Modes:
        """Returns the pairs that a mask selects."""
        return _Modes(*(getattr(self, f.name)[mask] for f in fields(self)))


def _find_modes(
    problem: _Problem, correlation: Float[np.ndarray, "rows rows"]
) -> tuple[_Modes, Float[np.ndarray, " rows"]]:
    """Alternates between fitting each pair of form error and noise and judging the rows.

    Returns:
        The modes of all pairs of non-negligible weight, and the trust in each row.
    """
    size, prior = problem.size, problem.prior
    pairs = len(FORMS) * len(NOISES)
    theta = np.repeat(prior.mean[None], pairs * len(_STARTS), axis=0)
    theta[:, SHARE] = np.tile(_STARTS, pairs)
    forms, noises = np.repeat(FORMS, len(NOISES)), np.tile(NOISES, len(FORMS))
    centre, trust = prior.mean, np.ones(len(size))
    for step in range(_ROUNDS):
        log_flops = size + problem.tokens
        best_size = (prior.anchor - centre[RATIO]) / 2 + centre[SPLIT] * (log_flops - prior.anchor)
        positions = RunPositions(
            prior.anchor - size - problem.tokens,
            size - best_size,
            size,
            np.exp(centre[BEND, None])[0],
        )
        form_covariance = error_covariance(positions, forms[:, None, None])
        inflation = 1 / trust - 1
        covariance = form_covariance + noises[:, None, None] ** 2 * (
            correlation + np.diag(inflation)
        )
        root = np.linalg.cholesky(covariance)
        whiten = np.linalg.inv(root)
        log_volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        starts = len(theta) // pairs
        theta, value, hessian = problem.solve(theta, np.repeat(whiten, starts, axis=0), _ALL)
        best = np.argmin(value.reshape(pairs, starts), axis=1) + starts * np.arange(pairs)
        theta, value, hessian = theta[best], value[best], hessian[best]
        log_weight = -value - log_volume - 0.5 * np.linalg.slogdet(hessian)[1]
        weights = np.exp(log_weight - log_weight.max())
        weights /= weights.sum()
        centre = weights @ theta
        if step < _ROUNDS - 1:
            k = int(np.argmax(log_weight))
            residuals = problem.residuals(theta[k : k + 1])[0]
            trust = _row_trust(residuals, whiten[k], noises[k], inflation)
    modes = _Modes(theta, hessian, whiten, log_volume, forms, noises)
    return modes.take(weights > _NEGLIGIBLE), trust


def _integrate_share(
    problem: _Problem, modes: _Modes, trust: Float[np.ndarray, " rows"]
) -> Posterior:
    """Replaces each mode by Gaussians at several values of the share."""
    deviation = np.sqrt(np.linalg.inv(modes.hessian)[:, SHARE, SHARE])
    count = len(_NODES)
    nodes = np.repeat(modes.theta, count, axis=0)
    nodes[:, SHARE] += np.outer(deviation, _NODES).ravel()
    others = [k for k in _ALL if k != SHARE]
    nodes, value, hessian = problem.solve(nodes, np.repeat(modes.whiten, count, axis=0), others)
    log_weight = (
        -value
        - 0.5 * np.linalg.slogdet(hessian)[1]
        + np.repeat(np.log(deviation) - modes.log_volume, count)
    )
    weights = np.exp(log_weight - log_weight.max())
    roots = np.zeros((len(nodes), 6, 6))
    roots[np.ix_(range(len(nodes)), others, others)] = np.linalg.cholesky(np.linalg.inv(hessian))
    return Posterior(
        problem.prior.anchor,
        nodes,
        weights / weights.sum(),
        roots,
        np.repeat(modes.forms, count),
        np.repeat(modes.noises, count),
        trust,
    )


def _with_unknown_level(prior: GaussianPrior, level: float) -> GaussianPrior:
    """Returns a prior that is broad in the level, about this one: losses have many units."""
    mean, covariance = prior.mean.copy(), prior.covariance.copy()
    mean[LEVEL] = level
    covariance[LEVEL, LEVEL] = _UNKNOWN_LEVEL**2
    return GaussianPrior(prior.anchor, mean, covariance)


def _row_trust(
    r: Float[np.ndarray, " rows"],
    whiten: Float[np.ndarray, "rows rows"],
    deviation: float,
    inflation: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"]:
    """Returns the probability that each row follows the law, given all other rows.

    Args:
        r: Log residuals, [rows].
        whiten: Turns residuals into unit noise, [rows, rows].
        deviation: Standard deviation of the noise.
        inflation: Variance already added to each row for distrust, relative to the noise, [rows].
    """
    inverse = whiten.T @ whiten
    pull = np.diagonal(inverse)
    left_out = (inverse @ r) / pull
    variance = np.maximum(1 / pull - deviation**2 * inflation, deviation**2)
    good = (1 - _BAD) * np.exp(-0.5 * left_out**2 / variance) / np.sqrt(2 * np.pi * variance)
    bad = _BAD * np.where(
        left_out > 0,
        _UPWARD * np.exp(-np.abs(left_out) / _ABOVE) / _ABOVE,
        (1 - _UPWARD) * np.exp(-np.abs(left_out) / _BELOW) / _BELOW,
    )
    return np.asarray(np.clip(good / (good + bad), _LEAST_TRUST, 1.0))
