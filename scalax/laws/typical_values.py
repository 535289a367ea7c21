"""Draws plausible coefficients and columns of a law at random, for checks and synthetic sweeps.

A draw is uniform in the logarithm if the range is wider than a factor of five, else in the value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError
from scalax.laws.base import Law

USUAL: Mapping[str, tuple[float, float]] = {
    "params": (1e7, 1e11),
    "tokens": (1e9, 1e13),
    "flops": (1e17, 1e24),
}
"""Ranges of columns that a law need not declare."""
_WIDE = 5.0
"""Ratio of a range's ends above which draws are uniform in the logarithm."""


def ranges(law: Law) -> dict[str, tuple[float, float]]:
    """Returns the least and greatest value of each coefficient and column of a law.

    Raises:
        ScalaxError: The law declares no valid range for one of them.

    Example:
        >>> from scalax.laws.chinchilla import Chinchilla
        >>> ranges(Chinchilla())["alpha"]
        (0.25, 0.5)
    """
    stated = {**USUAL, **law.typical}
    values = {}
    for name in [*(c.name for c in law.coefficients), *law.columns]:
        low, high = stated.get(name, (math.nan, math.nan))
        if not (math.isfinite(high - low) and low <= high):
            raise ScalaxError(
                f"states no range of plausible values for {name!r}",
                where=f"law {law.name!r}: typical",
                fix=f'add "{name}": (LEAST, GREATEST)',
            )
        values[name] = float(low), float(high)
    return values


def draw_truth(law: Law, rng: np.random.Generator) -> dict[str, float]:
    """Returns random coefficients of a law by name, each within its range."""
    stated = ranges(law)
    return {c.name: float(_draw(*stated[c.name], rng, ())) for c in law.coefficients}


def draw_columns(
    law: Law, rng: np.random.Generator, rows: int, names: tuple[str, ...] = ()
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Returns random columns, [rows] each: those of the law, and those of `USUAL` in ``names``."""
    stated = {**USUAL, **ranges(law)}
    wanted = dict.fromkeys([*names, *law.columns])
    return {name: _draw(*stated[name], rng, (rows,)) for name in wanted}


def _draw(low: float, high: float, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if low > 0 and high / low > _WIDE:
        return np.asarray(np.exp(rng.uniform(math.log(low), math.log(high), shape)))
    return np.asarray(rng.uniform(low, high, shape))
