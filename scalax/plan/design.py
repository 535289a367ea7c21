"""Optimal design: chooses the runs that leave the least variance of N* and loss at the target.

The law is linearised around draws from the prior, so that the variance left after any set of runs
has a closed form. The objective is the mean over draws of half the log variance of log N* plus half
that of log loss, which is the Bayesian D-optimum of the two (Chaloner and Verdinelli 1995, section
2). Runs are added greedily by information per cost, then exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalax.fit.form_error import (
    SPLIT_FORM,
    TRUNK_SHARE,
    RunPositions,
    error_covariance,
    forecast_variance,
)
from scalax.fit.prior import BEND, LEVEL, RATIO, SPLIT, GaussianPrior, along_frontier, jacobian
from scalax.plan.candidates import Candidates

MOST_RUNS = 24
"""Greatest number of runs in a design."""
_DRAWS = 16
"""Draws from the prior."""
_SHRINK = 0.8
"""Shrinks draws towards the mean: the linearisation is poor in the tails of a broad prior."""
_COST_POWERS = (0.2, 0.4, 0.6, 0.8, 1.0)
"""A greedy design adds runs by information / cost^power; the best power is used."""
_FIXED_COST = 1e-3
"""Share of the budget added to the cost of each run, so that tiny runs are not free."""
_ROUNDS = 2
"""Rounds of exchanges."""
_LEAST_GAIN = 1e-4
"""Least improvement of the score that counts."""


@dataclass(frozen=True)
class TargetVariance:
    """Variances of log N* and of log loss at the target, one for each draw.

    Attributes:
        size: Variance of log N*, [draws].
        loss: Variance of log loss, [draws].
    """

    size: np.ndarray
    loss: np.ndarray

    @property
    def score(self) -> float:
        """The objective of a design; smaller is better."""
        return float(0.5 * np.mean(np.log(self.size) + np.log(self.loss)))


class Design:
    """Scores and chooses designs, which are sets of candidate runs.

    Args:
        candidates: The runs to choose from.
        prior: Distribution of the law before the runs. Its anchor is at or above the compute of the
            largest candidate.
        target: Compute of the forecast, in FLOPs.
        form: Error of the law's form; see `scalax.fit.form_error`.
        noise: Relative standard deviation of a measured loss.
    """

    def __init__(
        self,
        candidates: Candidates,
        prior: GaussianPrior,
        target: float,
        *,
        form: float,
        noise: float,
    ) -> None:
        self.candidates = candidates
        theta = prior.mean + _SHRINK * (prior.draws(_DRAWS) - prior.mean)
        theta[:, SPLIT] = np.clip(theta[:, SPLIT], 0.1, 0.9)
        theta[:, LEVEL] = prior.mean[LEVEL]
        distance = float(np.log(target)) - prior.anchor
        size, tokens = np.log(candidates.per_token), np.log(candidates.tokens)
        slopes = jacobian(theta, size, tokens, prior.anchor)
        of_loss = _loss_gradient(theta, distance)
        of_size = np.zeros(6)
        of_size[[SPLIT, RATIO]] = distance, -0.5

        below = prior.anchor - size - tokens
        best = (prior.anchor - theta[:, RATIO, None]) / 2 - theta[:, SPLIT, None] * below
        positions = RunPositions(below, size - best, size, np.exp(theta[:, BEND]))
        same_size = candidates.params[:, None] == candidates.params
        self._own = (1 - TRUNK_SHARE) * noise**2
        self._between = (
            slopes @ prior.covariance @ slopes.transpose(0, 2, 1)
            + error_covariance(positions, form)
            + TRUNK_SHARE * noise**2 * same_size
        )
        covariance = prior.covariance
        self._to_size = slopes @ covariance @ of_size
        self._to_loss = np.einsum("drp,pq,dq->dr", slopes, covariance, of_loss)
        form_variance = float(forecast_variance(form, distance))
        self._size = np.full(len(theta), of_size @ covariance @ of_size)
        self._loss = np.einsum("dp,pq,dq->d", of_loss, covariance, of_loss)
        # No run reduces these: they come from the law's form between the anchor and the target.
        self._form_size, self._form_loss = SPLIT_FORM**2 * form_variance, form_variance

    def variance(self, chosen: Sequence[int]) -> TargetVariance:
        """Returns the variances at the target after the chosen runs."""
        rows = list(chosen)
        covariance = self._between[:, rows][:, :, rows] + self._own * np.eye(len(rows))
        towards = np.stack([self._to_size[:, rows], self._to_loss[:, rows]], axis=-1)
        explained = np.sum(towards * np.linalg.solve(covariance, towards), axis=1)
        return TargetVariance(
            self._size - explained[:, 0] + self._form_size,
            self._loss - explained[:, 1] + self._form_loss,
        )

    def extend(self, chosen: Sequence[int], budget: float, power: float) -> list[int]:
        """Adds the runs with most information per cost^power until the budget is spent."""
        rows = list(chosen)
        between = self._between.copy()
        to_size, to_loss = self._to_size.copy(), self._to_loss.copy()
        size, loss = self._size + self._form_size, self._loss + self._form_loss

        def condition_on(k: int) -> None:
            nonlocal size, loss
            column = between[:, :, k].copy()
            variance = column[:, k] + self._own
            size = size - to_size[:, k] ** 2 / variance
            loss = loss - to_loss[:, k] ** 2 / variance
            share = column / variance[:, None]
            to_size[...] -= to_size[:, k, None] * share
            to_loss[...] -= to_loss[:, k, None] * share
            between[...] -= column[:, :, None] * share[:, None, :]

        for k in rows:
            condition_on(k)
        spent = self.candidates.cost(rows) if rows else 0.0
        while len(rows) < MOST_RUNS:
            cost = self.candidates.added(rows)
            affordable = cost <= budget - spent
            if not affordable.any():
                break
            variance = np.einsum("drr->dr", between) + self._own
            left = np.log1p(-(to_size**2) / variance / size[:, None])
            left += np.log1p(-(to_loss**2) / variance / loss[:, None])
            information = -0.5 * left.mean(axis=0)
            value = information / (np.where(affordable, cost, 1.0) / budget + _FIXED_COST) ** power
            best = int(np.argmax(np.where(affordable, value, -1.0)))
            if information[best] < _LEAST_GAIN:
                break
            condition_on(best)
            rows.append(best)
            spent += float(cost[best])
        return rows

    def choose(self, budget: float) -> list[int]:
        """Returns the best design: greedy with several powers, then improved by exchanges."""
        designs = [(self.extend([], budget, power), power) for power in _COST_POWERS]
        best, power = min(designs, key=lambda pair: self.variance(pair[0]).score)
        score = self.variance(best).score
        for _ in range(_ROUNDS):
            before = score
            for subset in self._subsets(best):
                for tried_power in {power, _COST_POWERS[0]}:
                    tried = self.extend(subset, budget, tried_power)
                    tried_score = self.variance(tried).score if tried else np.inf
                    if tried_score < score - _LEAST_GAIN:
                        best, score = tried, tried_score
            if score == before:
                break
        return sorted(best)

    def _subsets(self, rows: list[int]) -> list[list[int]]:
        """Returns the designs with one trunk removed, and those with one run removed."""
        sizes = self.candidates.params
        trunks = np.unique(sizes[rows]).tolist()
        without_trunk = [[k for k in rows if sizes[k] != size] for size in trunks]
        return without_trunk + [[k for k in rows if k != removed] for removed in rows]


def _loss_gradient(theta: np.ndarray, distance: float) -> np.ndarray:
    """Returns the gradient of the log loss at the target's best split, [draws, 6]."""
    step = 1e-4
    derivatives = [
        (along_frontier(theta + e, distance)[1] - along_frontier(theta - e, distance)[1])
        / (2 * step)
        for e in step * np.eye(6)
    ]
    return np.stack(derivatives, axis=-1)
