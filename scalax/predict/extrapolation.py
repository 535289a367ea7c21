"""How far a query is outside the data behind a law, as a number and in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

UNSUPPORTED = 100
"""Factor beyond the data from which a note says that the data no longer supports the answer."""
_ROUNDING = 1 + 1e-9
"""Relative tolerance when two factors are compared."""

Ranges = Mapping[str, list[float]]
"""``{column: [least, greatest]}`` of the rows behind a law."""


def distance_outside(ranges: Ranges, x: Mapping[str, Any]) -> Any:
    """Returns the distance of points from the ranges of params and tokens, in e-folds.

    The distance is the larger of the two columns', above or below; 0 inside. For a query of
    compute alone it is the distance below the smallest compute.
    """
    distance: Any = 0.0
    for name in [n for n in ("params", "tokens") if n in x] or ["flops"]:
        if name in ranges:
            low, high = ranges[name]
            with np.errstate(divide="ignore"):
                factor = np.maximum(x[name] / high, low / x[name])
                distance = np.maximum(distance, np.log(factor))
    return distance


def extrapolation_notes(
    ranges: Ranges, flops: Any, params: Any = None, tokens: Any = None
) -> list[str]:
    """Returns sentences on how far a query is outside the rows fitted.

    Args:
        ranges: Of the rows fitted.
        flops: Compute of the query: a number, or a sequence, whose farthest value counts.
        params: Parameters, where known; likewise.
        tokens: Training tokens, where known; likewise.

    Returns:
        A sentence where compute exceeds that of the rows, and one for params or tokens (for
        compute, where neither is given) where they are farther outside than that.
    """
    greatest = ranges.get("flops", [0, math.inf])[1]
    beyond = float(np.max(flops)) / greatest if greatest else math.inf
    notes = []
    if beyond > 1:
        notes.append(_sentence(beyond, "times the compute of the largest run fitted"))
    x = {"params": params, "tokens": tokens}
    given = {name: np.asarray(value, float) for name, value in x.items() if value is not None}
    for name, value in (given or {"flops": np.asarray(flops, float)}).items():
        low, high = ranges.get(name, [0, math.inf])
        word = "compute" if name == "flops" else name
        for factor, words in (
            (float(value.max()) / high, f"times the {word} of the largest run fitted"),
            (low / (float(value.min()) or math.inf), f"times below the {word} of the smallest"),
        ):
            if factor > max(beyond, 1) * _ROUNDING:
                notes.append(_sentence(factor, words))
    return notes


def _sentence(factor: float, words: str) -> str:
    text = f"{factor:,.3g} {words}"
    if factor <= UNSUPPORTED:
        return text
    return f"{text}: beyond what the data supports, the form of the law decides there"
