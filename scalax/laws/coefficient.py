"""A coefficient of a law: its name, bounds and starting values. It never holds an estimate."""

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
        role: ``"linear"``: the law is linear in it once the other coefficients are known, so the
            solver computes it inside the grid (see `Law.basis`). The solver searches the other
            roles over a coarse grid: ``"exponent"``, a plain number; ``"scale"``, a positive size;
            ``"floor"``, a level below the loss, with a grid in shares of the least measured loss;
            ``"ceiling"``, a level above it, with a grid in multiples of the greatest measured
            loss; ``"place"``, a point on the column ``of``, with a grid in shares of that column's
            range in logarithms.
        low: Least value allowed.
        high: Greatest value allowed.
        grid: Coarse starting values; empty for a linear coefficient.
        meaning: A few words for listings.
        of: The column of a place.
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
        """Whether a solver works with its logarithm: true for every role but exponents."""
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
