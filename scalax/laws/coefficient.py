"""A coefficient of a law: its name, role, bounds and starting values, but no estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scalax.array_types import Array as Array

Role = Literal["linear", "exponent", "scale", "floor", "ceiling", "place"]


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of a law.

    Attributes:
        name: Its symbol.
        role: ``"linear"`` if the law is linear in it given the other coefficients; least squares
            then gives its start (see `Law.basis`). The solver searches all other roles over a
            coarse grid:

            - ``"exponent"``: a number of any sign; the grid has its values.
            - ``"scale"``: a positive number; the grid has its values.
            - ``"floor"``: a level below the loss; the grid is relative to the least measured loss.
            - ``"ceiling"``: a level above the loss; the grid is relative to the greatest one.
            - ``"place"``: a point in the range of the column ``of``; the grid has fractions of that
              range in log scale, 0 for the least value and 1 for the greatest.
        low: Least value allowed.
        high: Greatest value allowed.
        grid: Coarse starting values; empty for a linear coefficient.
        meaning: A few words for listings.
        of: The column of a ``"place"``.
    """

    name: str
    role: Role
    low: float
    high: float
    grid: tuple[float, ...] = ()
    meaning: str = ""
    of: str = ""

    @property
    def log(self) -> bool:
        """Whether the solver uses its logarithm: true for all roles except ``"exponent"``."""
        return self.role != "exponent"

    def starts(self, x: Mapping[str, np.ndarray], loss: np.ndarray) -> np.ndarray:
        """Returns the starting values in the coefficient's own unit, [grid].

        Args:
            x: Columns by name, each [rows].
            loss: The measured loss, [rows].
        """
        grid = np.asarray(self.grid, dtype=float)
        if self.role == "floor":
            grid = grid * np.min(loss)
        elif self.role == "ceiling":
            grid = grid * np.max(loss)
        elif self.role == "place":
            low, high = np.log(np.min(x[self.of])), np.log(np.max(x[self.of]))
            grid = np.exp(low + grid * (high - low))
        return np.clip(grid, self.low, self.high)
