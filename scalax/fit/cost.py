"""Costs of a log residual r = log predicted - log measured: Huber by default, and four others.

Each cost comes with its first two derivatives. This module knows neither laws nor rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError, suggest

Kind = Literal["huber", "l1", "l2", "student", "asymmetric"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_FREEDOM = 4.0
"""Degrees of freedom of ``student``."""
_TILT = 0.5
"""Change of the factor of ``asymmetric`` with the sign of the residual."""


@dataclass(frozen=True)
class Cost:
    """A cost of the log residual.

    Attributes:
        kind: ``huber``: r^2 / 2 up to delta, then linear (Hoffmann et al. 2022, equation 3);
            ``l1``: delta * abs(r), quadratic within ``turn`` of zero so that it has a curvature
            there; ``l2``: r^2 / 2; ``student``: delta^2 times minus the log likelihood of a
            Student's t distribution with 4 degrees of freedom and scale delta; ``asymmetric``:
            Huber, times 1.5 where the law is above the measurement and 0.5 where it is below,
            because failed training only raises a loss.
        delta: Scale, in log units.
        turn: Residual below which ``l1`` is quadratic.

    Raises:
        ScalaxError: The kind is unknown, or delta is not positive.

    Example:
        >>> Cost("huber", 0.1).value(np.array([0.05, -1.0])).round(6).tolist()
        [0.00125, 0.095]
    """

    kind: Kind = "huber"
    delta: float = 1e-3
    turn: float = 1e-7

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ScalaxError(
                f"unknown cost {self.kind!r}", where="cost", fix=suggest(str(self.kind), KINDS)
            )
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ScalaxError(
                f"expected a positive number, got {self.delta!r}",
                where="delta",
                fix="give a scale of log residuals, such as 0.001",
            )

    def value(self, r: Any, xp: Any = np) -> Any:
        """Returns the cost of each residual.

        Args:
            r: Log residuals, of any shape.
            xp: The namespace of the residuals: numpy or jax.numpy.
        """
        size = xp.abs(r)
        if self.kind == "l2":
            return 0.5 * r * r
        if self.kind == "student":
            scaled = r / self.delta
            factor = 0.5 * (_FREEDOM + 1) * self.delta**2
            return factor * xp.log1p(scaled * scaled / _FREEDOM)
        turn = self.turn if self.kind == "l1" else self.delta
        value = xp.where(size <= turn, 0.5 * r * r, turn * (size - 0.5 * turn))
        if self.kind == "l1":
            return value * (self.delta / turn)
        return value * self._tilt(r, xp) if self.kind == "asymmetric" else value

    def slopes(
        self, r: Float[np.ndarray, "*shape"]
    ) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
        """Returns the first and second derivative of the cost of each residual."""
        if self.kind == "l2":
            return r, np.ones_like(r)
        if self.kind == "student":
            square = (r / self.delta) ** 2
            below = _FREEDOM + square
            factor = _FREEDOM + 1
            return factor * r / below, factor * (_FREEDOM - square) / below**2
        turn = self.turn if self.kind == "l1" else self.delta
        slope, curve = np.clip(r, -turn, turn), (np.abs(r) <= turn).astype(float)
        if self.kind == "l1":
            return slope * (self.delta / turn), curve * (self.delta / turn)
        if self.kind == "asymmetric":
            tilt = self._tilt(r, np)
            return slope * tilt, curve * tilt
        return slope, curve

    def bowl(self, r: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Returns the curvature of the parabola about zero that touches the cost at each residual.

        The curvature is never negative, and the parabola is an upper bound of the cost, so a step
        to the minimum of the parabolas never increases the cost.
        """
        slope, _ = self.slopes(r)
        safe = np.where(np.abs(r) > 1e-12, r, 1e-12)
        return np.where(np.abs(r) > 1e-12, slope / safe, self.slopes(safe)[1])

    def _tilt(self, r: Any, xp: Any) -> Any:
        return 1.0 + _TILT * xp.sign(r)
