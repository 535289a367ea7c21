"""Starting points of a fit: a coarse grid of some coefficients, least squares for the others.

The grid covers the coefficients that are not linear. Given those, `Law.target` is linear in the
others (see `scalax.laws.base.Law.basis`). Dividing each row by its target brings least squares
close to the log residual of the objective. `scalax.fit.newton` then minimises the exact objective.
"""

from __future__ import annotations

import itertools

import numpy as np

from scalax.array_types import Float
from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

_MOST_ROWS = 2000
_FEW_VALUES = 8
_MOST_VALUES = 80_000
_CHUNK_VALUES = 80_000


def grid_starts(
    objective: Objective,
    weights: Float[np.ndarray, " rows"],
    count: int,
    constraints: Constraints | None = None,
    *,
    diverse: bool = False,
) -> Float[np.ndarray, "starts coefficients"]:
    """Returns the points of the grid with the lowest exact objective.

    Args:
        objective: The objective to minimise later.
        weights: [rows].
        count: Number of starts.
        constraints: The directions that the fit may move in; the grid is projected onto them.
        diverse: Whether to add the best point for each value of every coefficient with a small
            grid. A law with a knee has valleys that the best points overall may miss.

    Returns:
        theta [starts, coefficients], best first.
    """
    law = objective.law
    low, high = objective.bounds()
    rows = objective.log_measured.size
    searched = [c for c in law.coefficients if c.role != "linear"]
    size = int(np.prod([len(c.grid) for c in searched])) if searched else 1
    most = min(rows, _MOST_ROWS, max(len(law.coefficients) * 8, _MOST_VALUES // size))
    picked = np.unique(np.linspace(0, rows - 1, most).astype(int))
    few, weights = objective.rows(picked), weights[picked]
    loss = np.exp(few.log_measured)
    grids = [np.unique(c.starts(few.columns, loss)) for c in searched]
    points = np.asarray(list(itertools.product(*grids)), float).reshape(-1, len(searched))
    chunks = np.array_split(points, max(1, len(points) * len(picked) // _CHUNK_VALUES))
    thetas, values = [], []
    for chunk in chunks:
        theta = np.clip(_solve_linear(few, chunk, weights), low, high)
        if constraints is not None:
            theta = constraints.expand(constraints.reduce(theta))
        thetas.append(theta)
        values.append(few.value(theta, weights))
    theta, value = np.concatenate(thetas), np.concatenate(values)
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
    """Returns theta [points, coefficients] with the linear coefficients solved at each point.

    They are the non-negative least squares of the factors divided by the target, against 1.
    """
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
        # Dividing by a power of two first keeps the squares of very large factors finite.
        _, power = np.frexp(np.abs(factors).max(axis=2, keepdims=True))
        size = np.sqrt(np.mean(np.ldexp(factors, -power) ** 2, axis=2, keepdims=True))
        scale = np.ldexp(size, power) + 1e-300
        solved = _positive_least_squares(factors / scale, weights)
        # A term with amount 0 starts small instead, so that Newton can restore it.
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
    """Returns amounts [batch, count] >= 0 that minimise the weighted squares of
    sum(amount * factor) - 1. With so few amounts, it tries every active set."""
    batch, count, _ = factors.shape
    weighted = factors * weights
    gram = weighted @ factors.transpose(0, 2, 1)
    target = weighted.sum(axis=2)
    ridge = 1e-11 * weights.sum()
    best = np.zeros((batch, count))
    best_cost = np.full(batch, np.inf)
    for size in range(1, count + 1):
        for active in map(list, itertools.combinations(range(count), size)):
            # The ridge is far below what matters and above the rounding of repeated factors.
            sub = gram[:, active][:, :, active] + ridge * np.eye(size)
            try:
                solved = np.linalg.solve(sub, target[:, active, None])[..., 0]
            except np.linalg.LinAlgError:  # one singular point fails the batch: solve all by pinv
                solved = (np.linalg.pinv(sub) @ target[:, active, None])[..., 0]
            cost = -np.einsum("bk,bk->b", solved, target[:, active])
            better = (solved > 0).all(axis=1) & (cost < best_cost)
            best[better] = 0.0
            best[np.ix_(better, active)] = solved[better]
            best_cost[better] = cost[better]
    return best
