"""Minimises many functions of one variable at once: a scan, then a golden-section search."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scalax.array_types import Array, Float


def search(
    value_at: Callable[[np.ndarray], Array], shape: tuple[int, ...], low: float, high: float
) -> Float[np.ndarray, "*shape"]:
    """Returns the minimisers of many functions of one variable.

    Args:
        value_at: Takes one point for each function and returns the values, both of ``shape``;
            infinite where a function is undefined.
        shape: Shape of the array of functions.
        low: Lower end of the scan.
        high: Upper end of the scan.

    Returns:
        The points, of ``shape``, to 1e-9; NaN where the minimum is at an end of the scan.
    """
    grid = np.linspace(low, high, 241)
    values = np.stack([np.broadcast_to(value_at(np.full(shape, point)), shape) for point in grid])
    best = np.argmin(values, axis=0)
    inside = (best > 0) & (best < len(grid) - 1) & np.isfinite(np.min(values, axis=0))
    left, right = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    while np.max(right - left) > 1e-9:
        one, two = right - golden * (right - left), left + golden * (right - left)
        falls = value_at(one) > value_at(two)
        left, right = np.where(falls, one, left), np.where(falls, right, two)
    return np.where(inside, (left + right) / 2, np.nan)
