"""Plausible coefficients and columns for every law, drawn by hypothesis; it tests nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from scalax import registry
from scalax.laws.typical_values import ranges

NAMES = [
    "bounded",
    "broken-power",
    "chinchilla",
    "data-constrained",
    "joint",
    "kaplan",
    "learning-curve",
    "m4",
    "moe",
    "overtraining",
    "power-flops",
    "power-params",
    "power-tokens",
    "precision",
]

# Wider than what the law calls typical: a knee that bends upward, a schedule not annealed yet.
_WIDER = {("broken-power", "turn"): (-0.04, 0.3), ("learning-curve", "lr_annealing"): (0.0, 0.5)}


@st.composite
def coefficients(draw: st.DrawFn, name: str) -> dict[str, float]:
    """One truth of a law."""
    law = registry.get("law", name)
    known = ranges(law)
    return {
        c.name: draw(st.floats(*_WIDER.get((name, c.name), known[c.name])))
        for c in law.coefficients
    }


@st.composite
def columns(draw: st.DrawFn, name: str, rows: int = 5) -> dict[str, np.ndarray]:
    """A few rows of a law's columns, even in logarithms where they span decades."""
    law = registry.get("law", name)
    known, found = ranges(law), {}
    for column in law.columns:
        low, high = _WIDER.get((name, column), known[column])
        shares = draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))
        if low > 0:
            found[column] = low * (high / low) ** np.asarray(shares)
        else:
            found[column] = low + (high - low) * np.asarray(shares)
    return found
