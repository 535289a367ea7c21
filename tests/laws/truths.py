"""Plausible coefficients and columns for every law, drawn by hypothesis; it tests nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from scalax import registry

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

# Least and greatest truth of each coefficient; those not named fall to what suits most laws.
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "bounded": {"E": (0.01, 0.3), "H": (0.5, 0.95), "K": (1e18, 1e22), "alpha": (0.1, 1.0)},
    "broken-power": {
        "A": (0.3, 3.0),
        "K": (1e18, 1e21),
        "alpha": (0.05, 0.3),
        "turn": (-0.04, 0.3),
        "width": (0.1, 1.5),
    },
    "data-constrained": {"R_D": (2.0, 40.0), "R_N": (2.0, 20.0)},
    "joint": {"A": (1e2, 1e4), "B": (1e2, 1e4), "gamma": (0.4, 1.5)},
    "kaplan": {
        "Nc": (1e12, 1e15),
        "Dc": (1e12, 1e15),
        "alpha_N": (0.05, 0.15),
        "alpha_D": (0.05, 0.15),
    },
    "learning-curve": {"A": (0.3, 2.0), "C": (0.05, 0.5), "alpha": (0.2, 0.8)},
    "m4": {
        "E": (0.5, 1.5),
        "E0": (6.0, 11.0),
        "K": (1e15, 1e20),
        "alpha": (0.05, 2.0),
        "gamma": (0.1, 0.3),
    },
    "moe": {
        "e": (1.0, 2.0),
        "c": (0.1, 0.5),
        "d": (0.1, 5.0),
        "lam": (-0.6, -0.1),
        "delta": (0.05, 0.3),
        "gamma": (0.1, 0.3),
    },
    "overtraining": {"a": (50.0, 400.0), "b": (50.0, 400.0), "eta": (0.09, 0.2)},
    "power-flops": {"A": (1e2, 1e4), "alpha": (0.1, 0.3)},
    "precision": {"gamma_w": (1.0, 4.0), "gamma_a": (1.0, 4.0), "gamma_kv": (0.5, 3.0)},
}
_USUAL = {
    "E": (1.0, 2.0),
    "A": (1e2, 1e3),
    "B": (1e2, 3e3),
    "a": (1e2, 1e3),
    "b": (1e2, 3e3),
    "alpha": (0.25, 0.5),
    "beta": (0.25, 0.5),
}
_COLUMNS = {
    "params": (1e7, 1e11),
    "params_active": (1e6, 9e6),
    "tokens": (1e9, 1e13),
    "flops": (1e17, 1e24),
    "unique_tokens": (1e9, 1e12),
    "bits_weights": (3.0, 16.0),
    "bits_activations": (3.0, 16.0),
    "bits_cache": (3.0, 16.0),
    "lr_area": (0.1, 30.0),
    "lr_annealing": (0.0, 0.5),
}


@st.composite
def coefficients(draw: st.DrawFn, name: str) -> dict[str, float]:
    """One truth of a law."""
    law = registry.get("law", name)
    ranges = {**_USUAL, **_RANGES.get(name, {})}
    return {c.name: draw(st.floats(*ranges[c.name])) for c in law.coefficients}


@st.composite
def columns(draw: st.DrawFn, name: str, rows: int = 5) -> dict[str, np.ndarray]:
    """A few rows of a law's columns, even in logarithms where they span decades."""
    law = registry.get("law", name)
    found = {}
    for column in law.columns:
        low, high = _COLUMNS[column]
        shares = draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows))
        if low > 0:
            found[column] = low * (high / low) ** np.asarray(shares)
        else:
            found[column] = low + (high - low) * np.asarray(shares)
    return found
