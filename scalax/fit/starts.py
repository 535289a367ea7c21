"""Good starting points: a coarse grid of the coefficients that are not linear, the rest solved.

Given those, a function of the loss is linear in the rest (see `scalax.laws.base.Law.basis`), and
dividing each row by its target makes plain least squares close to the log residual that the
objective uses. What comes out is only a start: the exact objective is for `newton`.
"""

from __future__ import annotations

import itertools

import numpy as np

from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

_MOST_ROWS = 2000
_FEW_VALUES = 8
_MOST_VALUES = 80_000
_CHUNK_VALUES = 80_000


def grid_starts(
    objective: Objective,
    weights: np.ndarray,
    count: int,
    held: Constraints | None = None,
    *,
    diverse: bool = False,
) -> np.ndarray:
    """The best points of the grid by the exact objective, best first.

    Args:
        objective: What will be minimised.
        weights: [rows].
        count: How many starts to give.
        held: What the fit may move; the grid is brought onto it.
        diverse: Whether to add, for each value of a grid of few values, the best point with it:
            a law with a knee has valleys that the best points of all may miss.

    Returns:
        theta, [starts, coefficients], best first.
    """
    law = objective.law
    low, high = objective.bounds()
    rows = objective.log_measured.size
    searched = [c for c in law.coefficients if c.role != "linear"]
    size = int(np.prod([len(c.grid) for c in searched])) if searched else 1
    most = min(rows, _MOST_ROWS, max(len(law.coefficients) * 8, _MOST_VALUES // size))
    some = np.unique(np.linspace(0, rows - 1, most).astype(int))
    few, weights = objective.rows(some), weights[some]
    loss = np.exp(few.log_measured)
    grids = [np.unique(c.starts(few.columns, loss)) for c in searched]
    points = np.asarray(list(itertools.product(*grids)), float).reshape(-1, len(searched))
    chunks = np.array_split(points, max(1, len(points) * len(some) // _CHUNK_VALUES))
    found, values = [], []
    for chunk in chunks:
        theta = np.clip(_solve_linear(few, chunk, weights), low, high)
        if held is not None:
            theta = held.expand(held.reduce(theta))
        found.append(theta)
        values.append(few.value(theta, weights))
    theta, value = np.concatenate(found), np.concatenate(values)
    order = np.argsort(value, kind="stable")
    best = order[:count]
    if diverse:
        ranked = points[order]
        more = [
            order[np.unique(ranked[:, k], return_index=True)[1]]
            for k, c in enumerate(searched)
            if len(c.grid) <= _FEW_VALUES
        ]
        best = np.asarray(list(dict.fromkeys(np.concatenate([best, *more]).tolist())), int)
    return theta[best][np.isfinite(value[best])]


def _solve_linear(objective: Objective, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Theta [points, coefficients]: at each point, non-negative least squares of the factors over
    the target on 1. With so few coefficients the active set is found by trying every one."""
    law, batch = objective.law, len(points)
    rows = objective.log_measured.size
    searched = [c for c in law.coefficients if c.role != "linear"]
    linear = [c for c in law.coefficients if c.role == "linear"]
    given = {c.name: points[:, k, None] for k, c in enumerate(searched)}
    amounts: dict[str, np.ndarray] = {}
    if linear:
        with np.errstate(all="ignore"):
            loss = np.exp(objective.log_measured)
            target = np.broadcast_to(law.target(np, given, objective.columns, loss), (batch, rows))
            factors = np.stack(
                [
                    np.broadcast_to(factor, (batch, rows)) / target
                    for factor in law.basis(np, given, objective.columns)
                ],
                axis=1,
            )
        factors = np.where(np.isfinite(factors), factors, 0.0)
        # A power of two taken out first keeps the squares of a tiny loss's factors finite.
        _, power = np.frexp(np.abs(factors).max(axis=2, keepdims=True))
        size = np.sqrt(np.mean(np.ldexp(factors, -power) ** 2, axis=2, keepdims=True))
        scale = np.ldexp(size, power) + 1e-300
        solved = _positive_least_squares(factors / scale, weights)
        # A term the grid left out starts small, so that Newton may bring it back.
        values = np.maximum(solved, 1e-3) / scale[..., 0]
        flat = {name: value[:, 0] for name, value in given.items()}
        with np.errstate(all="ignore"):
            solution = {c.name: values[:, k] for k, c in enumerate(linear)}
            amounts = {k: np.asarray(v) for k, v in law.untangle(flat, solution).items()}
    theta = np.empty((batch, len(law.coefficients)))
    for k, c in enumerate(law.coefficients):
        value = amounts[c.name] if c.role == "linear" else given[c.name][:, 0]
        theta[:, k] = np.log(np.clip(value, c.low, c.high)) if c.log else value
    return theta


def _positive_least_squares(factors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Amounts [batch, count] >= 0 with the least weighted squares of sum amount * factor - 1."""
    batch, count, _ = factors.shape
    weighted = factors * weights
    gram = weighted @ factors.transpose(0, 2, 1)
    target = weighted.sum(axis=2)
    ridge = 1e-11 * weights.sum()
    best = np.zeros((batch, count))
    best_cost = np.full(batch, np.inf)
    for size in range(1, count + 1):
        for active in map(list, itertools.combinations(range(count), size)):
            # A ridge far below what matters, above what rounding leaves of repeated factors.
            sub = gram[:, active][:, :, active] + ridge * np.eye(size)
            try:
                solved = np.linalg.solve(sub, target[:, active, None])[..., 0]
            except np.linalg.LinAlgError:  # one point of the batch is enough; all are solved again
                solved = (np.linalg.pinv(sub) @ target[:, active, None])[..., 0]
            cost = -np.einsum("bk,bk->b", solved, target[:, active])
            better = (solved > 0).all(axis=1) & (cost < best_cost)
            best[better] = 0.0
            best[np.ix_(better, active)] = solved[better]
            best_cost[better] = cost[better]
    return best
