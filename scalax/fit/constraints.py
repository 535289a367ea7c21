"""Constraints of a fit: fixed coefficients, tied coefficients, and bounds.

A constrained fit has fewer free directions: theta = offset + matrix @ free. The objective and the
solver stay the same.
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
        offset: Theta of fixed coefficients, 0 for the others, [coefficients].
        limits: Least and greatest value by coefficient name, in the coefficient's own unit.
    """

    matrix: Float[np.ndarray, "coefficients free"]
    offset: Float[np.ndarray, " coefficients"]
    limits: Mapping[str, tuple[float, float]]

    @property
    def free(self) -> int:
        """Number of free directions."""
        return int(self.matrix.shape[1])

    def expand(
        self, free: Float[np.ndarray, "batch free"]
    ) -> Float[np.ndarray, "batch coefficients"]:
        """Returns theta [batch, coefficients] of points [batch, free]."""
        return np.asarray(self.offset + free @ self.matrix.T)

    def reduce(
        self, theta: Float[np.ndarray, "batch coefficients"]
    ) -> Float[np.ndarray, "batch free"]:
        """Returns the nearest points [batch, free]; tied coefficients get their mean."""
        return np.asarray((theta - self.offset) @ self.matrix / self.matrix.sum(axis=0))

    def bounds(
        self, low: Float[np.ndarray, " coefficients"], high: Float[np.ndarray, " coefficients"]
    ) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, " free"]]:
        """Returns bounds [free] from bounds of theta; for tied coefficients, the tightest."""
        member = self.matrix.T > 0
        least = np.where(member, low, -np.inf).max(axis=1)
        greatest = np.where(member, high, np.inf).min(axis=1)
        return least, greatest

    def derivatives(self, evaluate: Evaluate) -> Evaluate:
        """Turns derivatives with respect to theta into derivatives by the free directions."""

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
        ScalaxError: A coefficient is unknown, a value is outside the bounds of the law, or two
            constraints contradict each other.
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
                    f"{law.name} has no coefficient {name!r}",
                    where=where,
                    fix=suggest(name, specs),
                )
    for name, value in fixed.items():
        _within(specs[name], value, "fixed")
    for name, (low, high) in bounds.items():
        if not low < high:
            raise ScalaxError(
                f"expected low below high, got {low:g}, {high:g}",
                where=f"bounds {name}",
                fix=f"--bound {name}={high:g},{low:g}" if low > high else None,
            )
        _within(specs[name], low, "bounds")
        _within(specs[name], high, "bounds")
    group = {name: name for name in specs}
    for left, right in ties:
        if specs[left].log != specs[right].log:
            raise ScalaxError(
                f"{left} and {right} cannot be equal: only one of them is an exponent",
                where="ties",
                fix="tie two exponents, or two coefficients that are not exponents",
            )
        group = {n: group[left] if g == group[right] else g for n, g in group.items()}
    for name in fixed:
        if list(group.values()).count(group[name]) > 1:
            raise ScalaxError(
                f"{name} is both tied and fixed",
                where="ties",
                fix="remove the tie, and fix both coefficients at the value",
            )
    groups = list(dict.fromkeys(group[name] for name in specs if name not in fixed))
    if not groups:
        raise ScalaxError(
            "every coefficient is fixed",
            where="fixed",
            fix="fix fewer: at least one must be free to fit",
        )
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
            f"expected {spec.low:g} to {spec.high:g}, got {value!r}",
            where=f"{where} {spec.name}",
            fix="give a value in this range",
        )
