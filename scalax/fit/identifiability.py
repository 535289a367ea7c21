"""Tests whether the rows determine each coefficient, by the condition number of the Jacobian."""

from __future__ import annotations

import numpy as np

from scalax.array_types import Float
from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

UNIDENTIFIED = 1e8
"""Condition number from which a fit is not identified: half of a double's digits are lost."""
_DEAD = 1e-9
"""Effect on the loss, relative to the largest, below which a coefficient has none."""
_MOST_ROWS = 5000
"""Greatest number of rows tested; a larger table is replaced by an even sample of its rows."""


def identifiability(
    objective: Objective,
    theta: Float[np.ndarray, " coefficients"],
    weights: Float[np.ndarray, " rows"],
    constraints: Constraints,
) -> tuple[float, list[str]]:
    """Returns the condition number of d log loss / d theta, with columns scaled to length 1.

    Args:
        objective: The objective of the fit.
        theta: The estimate, [coefficients].
        weights: Row weights, [rows].
        constraints: The constraints of the fit; only free directions are tested.

    Returns:
        The condition number, infinite if a coefficient has no effect; and, if it is 1e8 or more, a
        warning that names the coefficients that the rows cannot separate.
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
    no_effect = [
        name for name, size in zip(names, length, strict=True) if not size > _DEAD * length.max()
    ]
    if no_effect or not np.isfinite(length).all():
        names_of = " and ".join(no_effect) or "the coefficients"
        return float("inf"), [
            f"identifiability: the data does not determine {names_of}; fix them, or give runs that "
            "vary more"
        ]
    _, values, directions = np.linalg.svd(jacobian / length, full_matrices=False)
    if len(values) < len(names):
        return float("inf"), [
            f"identifiability: {rows} rows cannot determine {len(names)} coefficients"
        ]
    condition = float(values[0] / max(values[-1], 1e-300))
    if condition < UNIDENTIFIED:
        return condition, []
    first, second = np.argsort(-np.abs(directions[-1]), kind="stable")[:2]
    return condition, [
        f"identifiability: the data cannot separate {names[first]} from {names[second]} "
        f"(condition {condition:.1e}); fix or tie one, or give runs that vary them separately"
    ]
