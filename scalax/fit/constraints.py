"""Constraints of a fit: coefficients that are fixed, tied to one another, or kept within bounds.

A constrained fit moves in fewer directions: theta = offset + matrix @ free. Neither the objective
nor the solver changes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError, suggest
from scalax.fit.derivatives import Derivatives, Evaluate
from scalax.laws.base import Coefficient, Law


@dataclass(frozen=True)
class Constraints:
    """The directions that a fit may move in.

    Attributes:
        matrix: [coefficients, free].
        offset: [coefficients]: theta of fixed coefficients, 0 elsewhere.
        limits: ``{name: (least, greatest)}``, in the coefficient's own unit.
    """

    matrix: Float[np.ndarray, "coefficients free"]
    offset: Float[np.ndarray, " coefficients"]
    limits: Mapping[str, tuple[float, float]]

    @property
    def free(self) -> int:
        """Number of free directions."""
        return int(self.matrix.shape[1])

    def expand(self, free: np.ndarray) -> np.ndarray:
        """Returns theta [batch, coefficients] of points [batch, free]."""
        return np.asarray(self.offset + free @ self.matrix.T)

    def reduce(self, theta: np.ndarray) -> np.ndarray:
        """Returns the nearest points [batch, free]: tied coefficients take their mean."""
        return np.asarray((theta - self.offset) @ self.matrix / self.matrix.sum(axis=0))

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns bounds [free] from bounds of theta: for tied coefficients, the tightest."""
        member = self.matrix.T > 0
        least = np.where(member, low, -np.inf).max(axis=1)
        greatest = np.where(member, high, np.inf).min(axis=1)
        return least, greatest

    def derivatives(self, evaluate: Evaluate) -> Evaluate:
        """Returns derivatives by the free directions, given derivatives by theta."""

        def reduced(free: np.ndarray, weights: np.ndarray) -> Derivatives:
            value, gradient, hessian = evaluate(self.expand(free), weights)
            return value, gradient @ self.matrix, self.matrix.T @ hessian @ self.matrix

        return reduced


def constrain(
    law: Law,
    fixed: Mapping[str, float],
    ties: Sequence[tuple[str, str]],
    bounds: Mapping[str, tuple[float, float]],
) -> Constraints:
    """Checks and returns the constraints of a fit.

    Args:
        law: The law form.
        fixed: Values by coefficient name.
        ties: Pairs of coefficients to keep equal.
        bounds: Least and greatest value by coefficient name.

    Raises:
        ScalaxError: An unknown coefficient, a value outside its law's bounds, or a contradiction.
    """
    specs = {c.name: c for c in law.coefficients}
    for where, names in (
        ("fixed", list(fixed)),
        ("ties", [name for pair in ties for name in pair]),
        ("bounds", list(bounds)),
    ):
        for name in names:
            if name not in specs:
                raise ScalaxError(
                    f"{law.name} has no {name!r}", where=where, fix=suggest(name, specs)
                )
    for name, value in fixed.items():
        _within(specs[name], value, "fixed")
    for name, (low, high) in bounds.items():
        if not low < high:
            raise ScalaxError(
                f"expected low below high, got {low:g}, {high:g}", where=f"bounds {name}"
            )
        _within(specs[name], low, "bounds")
        _within(specs[name], high, "bounds")
    group = {name: name for name in specs}
    for left, right in ties:
        if specs[left].log != specs[right].log:
            raise ScalaxError(
                f"{left} and {right} are not both exponents or both sizes", where="ties"
            )
        group = {n: group[left] if g == group[right] else g for n, g in group.items()}
    for name in fixed:
        if list(group.values()).count(group[name]) > 1:
            raise ScalaxError(
                f"{name} is both tied and fixed", where="ties", fix="fix both instead"
            )
    groups = list(dict.fromkeys(group[name] for name in specs if name not in fixed))
    if not groups:
        raise ScalaxError("every coefficient is fixed", where="fixed", fix="leave one to fit")
    matrix = np.asarray(
        [[float(n not in fixed and group[n] == label) for label in groups] for n in specs]
    )
    offset = np.asarray(
        [_theta(specs[n], fixed[n]) if n in fixed else 0.0 for n in specs], dtype=float
    )
    return Constraints(matrix, offset, {n: (float(a), float(b)) for n, (a, b) in bounds.items()})


def _theta(spec: Coefficient, value: float) -> float:
    return math.log(value) if spec.log else float(value)


def _within(spec: Coefficient, value: float, where: str) -> None:
    if not spec.low <= value <= spec.high:
        raise ScalaxError(
            f"expected {spec.low:g} to {spec.high:g}, got {value!r}", where=f"{where} {spec.name}"
        )
