"""Plausible coefficients and columns of any law, drawn at random; it judges nothing.

What is drawn is even in the logarithm of a range that spans decades, else even in the value.
"""

from __future__ import annotations

import math

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.base import Law

USUAL = {"params": (1e7, 1e11), "tokens": (1e9, 1e13), "flops": (1e17, 1e24)}
"""Ranges of the columns that a law need not state."""
_WIDE = 5.0


def ranges(law: Law) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each coefficient and column of a law.

    Raises:
        ScalaxError: The law leaves one out, or its ends are no range.

    Example:
        >>> from scalax.laws.chinchilla import Chinchilla
        >>> ranges(Chinchilla())["alpha"]
        (0.25, 0.5)
    """
    known = {**USUAL, **law.typical}
    found = {}
    for name in [*(c.name for c in law.coefficients), *law.columns]:
        low, high = known.get(name, (math.nan, math.nan))
        if not (math.isfinite(high - low) and low <= high):
            raise ScalaxError(
                f"states no range of plausible values for {name!r}",
                where=f"law {law.name!r}: typical",
                fix=f'add "{name}": (LEAST, GREATEST)',
            )
        found[name] = float(low), float(high)
    return found


def draw_truth(law: Law, rng: np.random.Generator) -> dict[str, float]:
    """Coefficients of a law, each within its range."""
    known = ranges(law)
    return {c.name: float(_draw(*known[c.name], rng, ())) for c in law.coefficients}


def draw_columns(
    law: Law, rng: np.random.Generator, rows: int, names: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Columns of a law, [rows] each; those of `USUAL` in ``names`` as well."""
    known = {**USUAL, **ranges(law)}
    wanted = dict.fromkeys([*names, *law.columns])
    return {name: _draw(*known[name], rng, (rows,)) for name in wanted}


def _draw(low: float, high: float, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    if low > 0 and high / low > _WIDE:
        return np.exp(rng.uniform(math.log(low), math.log(high), shape))
    return np.asarray(rng.uniform(low, high, shape))
