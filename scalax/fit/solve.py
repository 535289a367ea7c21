"""The solve of one fit: starts from a coarse grid, the exact objective, what the starts say.

Large tables are solved on a sample first, and only the best of it on every row. It reads no table
and writes no fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scalax.fit.constraints import Constraints
from scalax.fit.cost import Cost
from scalax.fit.geodesic_lm import polish
from scalax.fit.newton import Solution, minimise
from scalax.fit.objective import Objective
from scalax.fit.starts import grid_starts

STARTS = 8
_MORE_STARTS, _ROUNDS, _RESCUED = 24, 2, 6
_SAMPLED = 20_000
_SAMPLE = 4_000
_POLISHED = 3
_NOTHING = 1e-31  # a residual of the last digits of a double, squared
_AGREE = 1e-6
_APART = 1e-2


@dataclass(frozen=True)
class Solved:
    """A minimum of the objective.

    Attributes:
        theta: [coefficients].
        value: The objective there.
        starts: ``starts``, ``agree`` and ``spread``, as in `scalax.predict.fit_result.Fit`.
        notes: Warnings.
    """

    theta: np.ndarray
    value: float
    starts: dict[str, float]
    notes: list[str]


def solve(objective: Objective, weights: np.ndarray, held: Constraints) -> Solved | None:
    """The least objective that any start reaches; None where the law is finite at none.

    Args:
        objective: What to minimise.
        weights: [rows].
        held: What the fit may move.
    """
    rows = objective.log_measured.size
    few, few_weights = objective, weights
    if rows > _SAMPLED:
        some = np.linspace(0, rows - 1, _SAMPLE).round().astype(int)
        few, few_weights = objective.rows(some), weights[some]
    starts = grid_starts(few, few_weights, STARTS, held, diverse=True)
    if not len(starts):
        return None
    free = held.reduce(starts)
    for cost in _path(objective.cost):
        solved = _minimise(replace(few, cost=cost), few_weights, held, free)
        free = solved.theta
    if not _settled(solved):
        free = held.reduce(grid_starts(few, few_weights, _MORE_STARTS, held))
        free = np.concatenate([solved.theta, free])
        for _ in range(_ROUNDS):
            for gauss in (True, False):
                solved = _minimise(replace(few, gauss=gauss), few_weights, held, free)
                free = solved.theta
            solved = _polished(few, few_weights, held, solved)
            free = solved.theta
            if _settled(solved):
                break
    order = np.argsort(solved.value, kind="stable")
    said = _agreement(solved, order)
    if rows > _SAMPLED:
        polished = 1 if said["agree"] >= 2 else _POLISHED
        solved = _minimise(objective, weights, held, solved.theta[order[:polished]])
        order = np.argsort(solved.value, kind="stable")
    best = order[0]
    if not np.isfinite(solved.value[best]):
        return None
    notes = []
    if not solved.converged[best]:
        notes.append("the solver stopped before it converged: treat the coefficients with care")
    if said["agree"] >= 2 and said["spread"] > _APART:
        notes.append(
            "identifiability: starts reached the same objective at coefficients up to "
            f"{said['spread']:.2g} apart: the data cannot tell them apart"
        )
    theta = held.expand(solved.theta[best : best + 1])[0]
    return Solved(theta, float(solved.value[best]), said, notes)


def _minimise(
    objective: Objective, weights: np.ndarray, held: Constraints, free: np.ndarray
) -> Solution:
    derivatives = held.derivatives(objective.derivatives())
    bounds = held.bounds(*objective.bounds())
    return minimise(derivatives, free, weights, bounds, nothing=_NOTHING * float(weights.sum()))


def _polished(
    objective: Objective, weights: np.ndarray, held: Constraints, solved: Solution
) -> Solution:
    """The best few of a batch, each polished."""
    for k in np.argsort(solved.value, kind="stable")[:_RESCUED]:
        if np.isfinite(solved.value[k]):
            nothing = _NOTHING * float(weights.sum())
            found = polish(objective, weights, held, solved.theta[k], nothing)
            solved.theta[k], solved.value[k], solved.converged[k] = found
    return solved


def _settled(solved: Solution) -> bool:
    """Whether the best start converged, and another found the same minimum."""
    order = np.argsort(solved.value, kind="stable")
    return bool(solved.converged[order[0]]) and _agreement(solved, order)["agree"] >= 2


def _path(cost: Cost) -> list[Cost]:
    """Costs to minimise in turn, each from the last one's minimum: sharp corners come last."""
    if cost.kind != "l1":
        return [cost]
    return [Cost("huber", cost.delta), *(replace(cost, turn=10.0**-k) for k in (4, 5, 6)), cost]


def _agreement(solved: Solution, order: np.ndarray) -> dict[str, float]:
    """How many starts ended at the best objective, and how far apart their thetas lie."""
    least = solved.value[order[0]]
    near = solved.value <= least + _AGREE * max(least, 1e-18)
    spread = np.ptp(solved.theta[near], axis=0).max() if near.any() else 0.0
    return {
        "starts": float(len(order)),
        "agree": float(near.sum()),
        "spread": float(spread),
    }
