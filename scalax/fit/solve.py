"""Solves one fit: starts from a coarse grid, minimises the exact objective, compares the starts.

A large table is solved on a sample of its rows first; only the best points are then refined on all
rows. This module reads no table and writes no fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scalax.array_types import Float
from scalax.fit.constraints import Constraints
from scalax.fit.cost import Cost
from scalax.fit.geodesic_lm import polish
from scalax.fit.newton import Solution, minimise
from scalax.fit.objective import Objective
from scalax.fit.starts import grid_starts

STARTS = 8
_MORE_STARTS, _ROUNDS, _MOST_POLISHED = 24, 2, 6
_LARGE = 20_000
_SAMPLE = 4_000
_REFINED = 3
_NEGLIGIBLE = 1e-31  # a residual of the last digits of a double, squared
_SAME_VALUE = 1e-6
_FAR_APART = 1e-2


@dataclass(frozen=True)
class Solved:
    """A minimum of the objective.

    Attributes:
        theta: [coefficients].
        value: The objective at theta.
        starts: ``starts``, the number of starts; ``agree``, how many reached the minimum;
            ``spread``, the largest difference in theta among those.
        notes: Warnings.
    """

    theta: Float[np.ndarray, " coefficients"]
    value: float
    starts: dict[str, float]
    notes: list[str]


def solve(
    objective: Objective, weights: Float[np.ndarray, " rows"], constraints: Constraints
) -> Solved | None:
    """Returns the best minimum of all starts; None if no start has a finite loss.

    Args:
        objective: The objective to minimise.
        weights: [rows].
        constraints: The directions that the fit may move in.
    """
    rows = objective.log_measured.size
    sample, sample_weights = objective, weights
    if rows > _LARGE:
        picked = np.linspace(0, rows - 1, _SAMPLE).round().astype(int)
        sample, sample_weights = objective.rows(picked), weights[picked]
    starts = grid_starts(sample, sample_weights, STARTS, constraints, diverse=True)
    if not len(starts):
        return None
    free = constraints.reduce(starts)
    for cost in _cost_sequence(objective.cost):
        solved = _minimise(replace(sample, cost=cost), sample_weights, constraints, free)
        free = solved.theta
    if not _settled(solved):
        free = constraints.reduce(grid_starts(sample, sample_weights, _MORE_STARTS, constraints))
        free = np.concatenate([solved.theta, free])
        for _ in range(_ROUNDS):
            for gauss in (True, False):
                solved = _minimise(replace(sample, gauss=gauss), sample_weights, constraints, free)
                free = solved.theta
            solved = _polished(sample, sample_weights, constraints, solved)
            free = solved.theta
            if _settled(solved):
                break
    order = np.argsort(solved.value, kind="stable")
    agreement = _agreement(solved, order)
    if rows > _LARGE:
        count = 1 if agreement["agree"] >= 2 else _REFINED
        solved = _minimise(objective, weights, constraints, solved.theta[order[:count]])
        order = np.argsort(solved.value, kind="stable")
    best = order[0]
    if not np.isfinite(solved.value[best]):
        return None
    notes = []
    if not solved.converged[best]:
        notes.append("the solver stopped before it converged: treat the coefficients with care")
    if agreement["agree"] >= 2 and agreement["spread"] > _FAR_APART:
        notes.append(
            "identifiability: starts reached the same objective at coefficients up to "
            f"{agreement['spread']:.2g} apart: the data cannot distinguish them"
        )
    theta = constraints.expand(solved.theta[best : best + 1])[0]
    return Solved(theta, float(solved.value[best]), agreement, notes)


def _minimise(
    objective: Objective, weights: np.ndarray, constraints: Constraints, free: np.ndarray
) -> Solution:
    derivatives = constraints.derivatives(objective.derivatives())
    bounds = constraints.bounds(*objective.bounds())
    return minimise(
        derivatives, free, weights, bounds, negligible=_NEGLIGIBLE * float(weights.sum())
    )


def _polished(
    objective: Objective, weights: np.ndarray, constraints: Constraints, solved: Solution
) -> Solution:
    """Refines the best few points of a batch by `polish`."""
    for k in np.argsort(solved.value, kind="stable")[:_MOST_POLISHED]:
        if np.isfinite(solved.value[k]):
            negligible = _NEGLIGIBLE * float(weights.sum())
            end = polish(objective, weights, constraints, solved.theta[k], negligible)
            solved.theta[k], solved.value[k], solved.converged[k] = end
    return solved


def _settled(solved: Solution) -> bool:
    """Whether the best start converged and another start reached the same minimum."""
    order = np.argsort(solved.value, kind="stable")
    return bool(solved.converged[order[0]]) and _agreement(solved, order)["agree"] >= 2


def _cost_sequence(cost: Cost) -> list[Cost]:
    """Returns the costs to minimise in turn, each from the minimum of the previous one."""
    if cost.kind != "l1":
        return [cost]
    return [Cost("huber", cost.delta), *(replace(cost, turn=10.0**-k) for k in (4, 5, 6)), cost]


def _agreement(solved: Solution, order: np.ndarray) -> dict[str, float]:
    """Counts the starts that reached the best objective, and the spread of their thetas."""
    least = solved.value[order[0]]
    near = solved.value <= least + _SAME_VALUE * max(least, 1e-18)
    spread = np.ptp(solved.theta[near], axis=0).max() if near.any() else 0.0
    return {
        "starts": float(len(order)),
        "agree": float(near.sum()),
        "spread": float(spread),
    }
