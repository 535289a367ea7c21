"""Updates the prior over published laws with runs, by Bayes' rule.

Where the runs say little, the prior decides: how fast the loss falls and how N* grows. The model
of `scalax.fit.form_error` weighs the rows, and a mixture identifies bad ones. The computation uses
quadrature: no Monte Carlo chains, no jax. `scalax.fit.posterior_fit` applies it to a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

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

_ROUNDS = 5
"""Rounds of fitting and of estimating which rows to trust."""
_STARTS = (-1.0, 0.5, 2.0)
"""Log odds of the share from which each solve starts: little, some, or all can be removed."""
_NODES = np.array([-2.2, -1.4, -0.7, 0.0, 0.7, 1.4, 2.2])
"""Values of the share about its best, in deviations: forecasts depend on it least linearly."""
_NEGLIGIBLE = 1e-3
"""Weight below which a pair of form error and noise is dropped."""
_UNKNOWN_LEVEL = 3.0
"""Prior deviation of the log loss at the anchor: losses have many units."""
_BAD = 0.1
"""Prior probability that a row doesn't measure the law (bad tuning, spikes)."""
_ABOVE, _BELOW = 0.03, 0.02
"""Mean log residual of such rows above and below the law; exponential distributions."""
_UPWARD = 0.85
"""Probability that such a row is above the law."""
_LEAST_TRUST = 0.003
"""Least probability that a row measures the law."""


@dataclass(frozen=True)
class Posterior:
    """The distribution of a law's coordinates after runs, as weighted Gaussians.

    Attributes:
        anchor: Logarithm of the largest compute among the runs.
        theta: Centres, coordinates of `scalax.fit.prior`, [nodes, 6].
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
    """Returns the posterior after runs.

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
