"""Optimal design: chooses the runs that leave the least variance of N* and loss at the target.

The prior is linearised about draws from it, so that the variance left by any set of runs has a
closed form. The objective is the mean over draws of half the log variance of log N* plus half that
of log loss: the Bayesian D-optimum of the two (Chaloner and Verdinelli 1995, section 2). Runs are
added greedily by information per cost, then exchanged.
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
_NEARER = 0.8
"""Factor that moves draws towards the mean: linearisation is poor in the tails of a broad prior."""
_PRICES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Powers of the cost by which information is divided; the best of these greedy designs is kept."""
_FREE = 1e-3
"""Share of the budget added to every cost, so that tiny runs do not seem free."""
_ROUNDS = 2
"""Rounds of exchanges."""
_WORTH = 1e-4
"""Least improvement of the score that counts."""


@dataclass(frozen=True)
class TargetVariance:
    """Variances of log N* and of log loss at the target, one a draw.

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
    """Candidates under a belief.

    Args:
        candidates: The runs to choose among.
        belief: Before them; its anchor at or above the largest.
        target: Compute of the forecast, in FLOPs.
        form: Form error; see `scalax.fit.form_error`.
        noise: Relative deviation of a measured loss.
    """

    def __init__(
        self,
        candidates: Candidates,
        belief: GaussianPrior,
        target: float,
        *,
        form: float,
        noise: float,
    ) -> None:
        self.candidates = candidates
        theta = belief.mean + _NEARER * (belief.draws(_DRAWS) - belief.mean)
        theta[:, SPLIT] = np.clip(theta[:, SPLIT], 0.1, 0.9)
        theta[:, LEVEL] = belief.mean[LEVEL]
        far = float(np.log(target)) - belief.anchor
        size, tokens = np.log(candidates.per_token), np.log(candidates.tokens)
        slopes = jacobian(theta, size, tokens, belief.anchor)
        of_loss = _gradient(theta, far)
        of_size = np.zeros(6)
        of_size[[SPLIT, RATIO]] = far, -0.5

        below = belief.anchor - size - tokens
        best = (belief.anchor - theta[:, RATIO, None]) / 2 - theta[:, SPLIT, None] * below
        places = RunPositions(below, size - best, size, np.exp(theta[:, BEND]))
        same = candidates.params[:, None] == candidates.params
        self._own = (1 - TRUNK_SHARE) * noise**2
        self._between = (
            slopes @ belief.covariance @ slopes.transpose(0, 2, 1)
            + error_covariance(places, form)
            + TRUNK_SHARE * noise**2 * same
        )
        known = belief.covariance
        self._to_size = slopes @ known @ of_size
        self._to_loss = np.einsum("drp,pq,dq->dr", slopes, known, of_loss)
        never = float(forecast_variance(form, far))
        self._size = np.full(len(theta), of_size @ known @ of_size)
        self._loss = np.einsum("dp,pq,dq->d", of_loss, known, of_loss)
        self._never_size, self._never_loss = SPLIT_FORM**2 * never, never

    def doubt(self, chosen: Sequence[int]) -> TargetVariance:
        """Returns the variances at the target after the chosen runs."""
        rows = list(chosen)
        covariance = self._between[:, rows][:, :, rows] + self._own * np.eye(len(rows))
        towards = np.stack([self._to_size[:, rows], self._to_loss[:, rows]], axis=-1)
        known = np.sum(towards * np.linalg.solve(covariance, towards), axis=1)
        return TargetVariance(
            self._size - known[:, 0] + self._never_size,
            self._loss - known[:, 1] + self._never_loss,
        )

    def filled(self, chosen: Sequence[int], budget: float, price: float) -> list[int]:
        """Returns a design with the best runs for their cost added until the budget is spent."""
        rows = list(chosen)
        between = self._between.copy()
        to_size, to_loss = self._to_size.copy(), self._to_loss.copy()
        size, loss = self._size + self._never_size, self._loss + self._never_loss

        def learn(k: int) -> None:
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
            learn(k)
        spent = self.candidates.cost(rows) if rows else 0.0
        while len(rows) < MOST_RUNS:
            cost = self.candidates.added(rows)
            affordable = cost <= budget - spent
            if not affordable.any():
                break
            variance = np.einsum("drr->dr", between) + self._own
            left = np.log1p(-(to_size**2) / variance / size[:, None])
            left += np.log1p(-(to_loss**2) / variance / loss[:, None])
            told = -0.5 * left.mean(axis=0)
            worth = told / (np.where(affordable, cost, 1.0) / budget + _FREE) ** price
            best = int(np.argmax(np.where(affordable, worth, -1.0)))
            if told[best] < _WORTH:
                break
            learn(best)
            rows.append(best)
            spent += float(cost[best])
        return rows

    def choose(self, budget: float) -> list[int]:
        """Returns the best design: greedy at several prices, then improved by exchanges."""
        found = [(self.filled([], budget, price), price) for price in _PRICES]
        best, price = min(found, key=lambda pair: self.doubt(pair[0]).score)
        score = self.doubt(best).score
        for _ in range(_ROUNDS):
            before = score
            for without in self._thinner(best):
                for each in {price, _PRICES[0]}:
                    tried = self.filled(without, budget, each)
                    reached = self.doubt(tried).score if tried else np.inf
                    if reached < score - _WORTH:
                        best, score = tried, reached
            if score == before:
                break
        return sorted(best)

    def _thinner(self, rows: list[int]) -> list[list[int]]:
        """Returns the designs without one trunk, and without one run."""
        sizes = self.candidates.params
        trunks = np.unique(sizes[rows]).tolist()
        found = [[k for k in rows if sizes[k] != size] for size in trunks]
        return found + [[k for k in rows if k != gone] for gone in rows]


def _gradient(theta: np.ndarray, far: float) -> np.ndarray:
    """Of log loss at the target's best split by the coordinates, [draws, 6]."""
    step = 1e-4
    found = [
        (along_frontier(theta + e, far)[1] - along_frontier(theta - e, far)[1]) / (2 * step)
        for e in step * np.eye(6)
    ]
    return np.stack(found, axis=-1)
