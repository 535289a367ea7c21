"""Coefficients held at a value, tied to one another, or kept within bounds.

A constrained fit moves in fewer directions: theta = offset + matrix @ free. It changes neither the
objective nor the solver.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalax.errors import ScalaxError, suggest
from scalax.fit.objective import Derivatives, Evaluate
from scalax.laws.base import Coefficient, Law


@dataclass(frozen=True)
class Constraints:
    """What a fit may move.

    Attributes:
        matrix: [coefficients, free].
        offset: [coefficients]: theta of what is fixed, 0 elsewhere.
        limits: ``{name: (least, greatest)}``, in the coefficient's own unit.
    """

    matrix: np.ndarray
    offset: np.ndarray
    limits: Mapping[str, tuple[float, float]]

    @property
    def free(self) -> int:
        """How many directions are left."""
        return int(self.matrix.shape[1])

    def expand(self, free: np.ndarray) -> np.ndarray:
        """Theta [batch, coefficients] from [batch, free]."""
        return np.asarray(self.offset + free @ self.matrix.T)

    def reduce(self, theta: np.ndarray) -> np.ndarray:
        """The nearest [batch, free]: tied coefficients meet at their mean."""
        return np.asarray((theta - self.offset) @ self.matrix / self.matrix.sum(axis=0))

    def bounds(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds [free] from those of theta: the tightest of coefficients that are tied."""
        member = self.matrix.T > 0
        least = np.where(member, low, -np.inf).max(axis=1)
        greatest = np.where(member, high, np.inf).min(axis=1)
        return least, greatest

    def derivatives(self, evaluate: Evaluate) -> Evaluate:
        """The derivatives by the free directions, from those by theta."""

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
    """The constraints of a fit.

    Args:
        law: The law form.
        fixed: Values by coefficient name.
        ties: Pairs of coefficients that are to be equal.
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
            raise ScalaxError(f"{left} and {right} are of different kinds", where="ties")
        group = {n: group[left] if g == group[right] else g for n, g in group.items()}
    for name in fixed:
        if list(group.values()).count(group[name]) > 1:
            raise ScalaxError(
                f"{name} is both tied and fixed", where="ties", fix="fix both instead"
            )
    kinds = list(dict.fromkeys(group[name] for name in specs if name not in fixed))
    if not kinds:
        raise ScalaxError("every coefficient is fixed", where="fixed", fix="leave one to fit")
    matrix = np.asarray(
        [[float(n not in fixed and group[n] == kind) for kind in kinds] for n in specs]
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
