"""The least value of a function of one variable, for many functions at once. It knows no laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scalax.laws.coefficient import Array


def search(
    value_at: Callable[[Array], Array], shape: tuple[int, ...], low: float, high: float
) -> Array:
    """Where a function of one variable is least, for many functions at once.

    Args:
        value_at: From points, of ``shape``, to values; infinite where it has none.
        shape: Of the points: one for each function.
        low: Lower end of the scan.
        high: Upper end.

    Returns:
        The points, of ``shape``; NaN where the least value lies at an end of the scan.
    """
    grid = np.linspace(low, high, 241)
    values = np.stack([np.broadcast_to(value_at(np.full(shape, point)), shape) for point in grid])
    at = np.argmin(values, axis=0)
    inside = (at > 0) & (at < len(grid) - 1) & np.isfinite(np.min(values, axis=0))
    left, right = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    while np.max(right - left) > 1e-9:
        one, two = right - golden * (right - left), left + golden * (right - left)
        falls = value_at(one) > value_at(two)
        left, right = np.where(falls, one, left), np.where(falls, right, two)
    return np.where(inside, (left + right) / 2, np.nan)
