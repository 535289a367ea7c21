"""Good starting points: a coarse grid of exponents, the linear coefficients solved inside.

Given the exponents the loss is linear in the rest, and dividing each row by its measured loss
makes plain least squares close to the log residual that the objective uses. What comes out is
only a start: the exact objective is for `newton`.
"""

from __future__ import annotations

import itertools

import numpy as np

from scalax.fit.objective import Objective

_MOST_ROWS = 2000
_CHUNK = 256


def grid_starts(objective: Objective, weights: np.ndarray, count: int) -> np.ndarray:
    """The best points of the grid by the exact objective, best first.

    Args:
        objective: What will be minimised.
        weights: [rows].
        count: How many starts to give.

    Returns:
        theta, [at most count, coefficients].
    """
    law = objective.law
    rows = objective.log_measured.size
    some = np.unique(np.linspace(0, rows - 1, min(rows, _MOST_ROWS)).astype(int))
    columns = {name: values[some] for name, values in objective.columns.items()}
    few = Objective(law, columns, objective.log_measured[some], objective.delta)
    exponents = [c for c in law.coefficients if c.role != "linear"]
    points = np.asarray(list(itertools.product(*(c.grid for c in exponents))), float)
    found = []
    for chunk in np.array_split(points, max(1, len(points) // _CHUNK)):
        by_name = {c.name: chunk[:, k, None] for k, c in enumerate(exponents)}
        found.append(_solve_linear(few, by_name, weights[some]))
    theta = np.concatenate(found)
    values = few.value(theta, weights[some])
    best = np.argsort(values, kind="stable")[:count]
    return theta[best][np.isfinite(values[best])]


def _solve_linear(
    objective: Objective, exponents: dict[str, np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Non-negative least squares of loss / measured on 1, at each point of the grid.

    With so few coefficients the active set is found by trying every one.
    """
    law = objective.law
    linear = [c for c in law.coefficients if c.role == "linear"]
    batch = len(next(iter(exponents.values())))
    rows = objective.log_measured.size
    inverse = np.exp(-objective.log_measured)
    factors = np.stack(
        [
            np.broadcast_to(factor, (batch, rows)) * inverse
            for factor in law.basis(np, exponents, objective.columns)
        ],
        axis=1,
    )
    scale = np.sqrt(np.mean(factors**2, axis=2, keepdims=True))
    factors = factors / scale
    gram = np.einsum("bkr,r,bmr->bkm", factors, weights, factors, optimize=True)
    target = factors @ weights
    count = len(linear)
    best = np.zeros((batch, count))
    best_cost = np.full(batch, np.inf)
    for size in range(1, count + 1):
        for active in map(list, itertools.combinations(range(count), size)):
            sub = gram[:, active][:, :, active] + 1e-12 * np.eye(size)
            solved = np.linalg.solve(sub, target[:, active, None])[..., 0]
            cost = -np.einsum("bk,bk->b", solved, target[:, active])
            better = (solved > 0).all(axis=1) & (cost < best_cost)
            best[better] = 0.0
            best[np.ix_(better, active)] = solved[better]
            best_cost[better] = cost[better]
    values = best / scale[..., 0]
    theta = np.empty((batch, len(law.coefficients)))
    for k, c in enumerate(law.coefficients):
        if c.role == "linear":
            column = values[:, linear.index(c)]
            # A term the grid left out starts small, so that Newton may bring it back.
            small = 1e-3 / scale[:, linear.index(c), 0]
            theta[:, k] = np.log(np.clip(np.maximum(column, small), c.low, c.high))
        else:
            theta[:, k] = exponents[c.name][:, 0]
    return theta
