"""How well the rows tell the coefficients apart: the scaled Jacobian, and what it cannot see."""

from __future__ import annotations

import numpy as np

from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

UNTOLD = 1e8
"""From this condition on, two directions look the same to the rows: half the digits of a double."""
_DEAD = 1e-9
"""A coefficient whose effect on the loss is this much smaller than another's lies in rounding."""
_MOST_ROWS = 5000


def conditioning(
    objective: Objective, theta: np.ndarray, weights: np.ndarray, constraints: Constraints
) -> tuple[float, list[str]]:
    """The condition of d log loss / d theta, its columns scaled to length 1, and what to say of it.

    Args:
        objective: Of the rows fitted.
        theta: The estimate, [coefficients].
        weights: [rows].
        constraints: Of the fit; only free directions are looked at.

    Returns:
        The condition number, infinite where a coefficient has no effect; and a note where it is
        1e8 or more, naming the coefficients that move together.
    """
    rows = objective.log_measured.size
    if rows > _MOST_ROWS:
        some = np.linspace(0, rows - 1, _MOST_ROWS).round().astype(int)
        objective, weights = objective.rows(some), weights[some]
    jacobian = objective.jacobian(theta) * np.sqrt(weights)[:, None] @ constraints.matrix
    names = [
        "=".join(c.name for c, on in zip(objective.law.coefficients, column, strict=True) if on)
        for column in constraints.matrix.T
    ]
    length = np.sqrt(np.sum(jacobian**2, axis=0))
    dead = [
        name for name, size in zip(names, length, strict=True) if not size > _DEAD * length.max()
    ]
    if dead or not np.isfinite(length).all():
        blind = " and ".join(dead) or "the coefficients"
        return float("inf"), [f"identifiability: the data says nothing of {blind}"]
    _, values, directions = np.linalg.svd(jacobian / length, full_matrices=False)
    if len(values) < len(names):
        return float("inf"), [
            f"identifiability: {rows} rows cannot tell {len(names)} coefficients apart"
        ]
    condition = float(values[0] / max(values[-1], 1e-300))
    if condition < UNTOLD:
        return condition, []
    first, second = np.argsort(-np.abs(directions[-1]), kind="stable")[:2]
    return condition, [
        f"identifiability: the data cannot tell {names[first]} and {names[second]} apart "
        f"(condition {condition:.1e}); fix or tie one, or give runs that vary them separately"
    ]
