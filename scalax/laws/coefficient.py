"""One coefficient of a law: name, bounds, and where a search for it begins; never its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
"""A numpy or jax array, or a float: a law's arguments broadcast against each other."""


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of a law.

    Attributes:
        name: Its symbol.
        role: ``"linear"``: the others given, the law is linear in it, and the solver finds it
            inside the grid (see `Law.basis`). The rest are searched over a coarse grid:
            ``"exponent"``, a plain number; ``"scale"``, a positive size; ``"floor"``, a level
            below the loss, its grid in shares of the least measured one; ``"ceiling"``, one
            above, its grid in multiples of the greatest; ``"place"``, a point of the column
            ``of``, its grid in shares of the way from that column's least to its greatest value,
            in logarithms.
        low: Least value allowed.
        high: Greatest value allowed.
        grid: Coarse starting values; none for a linear one.
        meaning: What it stands for, in a few words.
        of: For a place, the column that it lies on.
    """

    name: str
    role: str
    low: float
    high: float
    grid: tuple[float, ...] = ()
    meaning: str = ""
    of: str = ""

    @property
    def log(self) -> bool:
        """Whether a solver works in its logarithm: all but exponents are positive sizes."""
        return self.role != "exponent"

    def starts(self, x: Mapping[str, Array], loss: Array) -> Array:
        """Its grid in its own unit, for the rows at hand.

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
