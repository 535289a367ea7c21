"""A batched second-order solve: many starts, or many resamples, of one objective at once.

Newton's step on the exact Hessian, its negative curvature turned positive, damped until the
objective falls, and projected onto the bounds. It knows nothing of laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalax.fit.objective import Derivatives


@dataclass(frozen=True)
class Solution:
    """Where a batch of solves ended.

    Attributes:
        theta: [batch, coefficients].
        value: The objective there, [batch].
        hessian: [batch, coefficients, coefficients].
        converged: Whether the last step was too small to matter, [batch].
        steps: Iterations taken.
    """

    theta: np.ndarray
    value: np.ndarray
    hessian: np.ndarray
    converged: np.ndarray
    steps: int


def minimise(
    derivatives: Callable[[np.ndarray, np.ndarray], Derivatives],
    theta: np.ndarray,
    weights: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    *,
    most_steps: int = 200,
    tolerance: float = 1e-13,
    nothing: float = 0.0,
) -> Solution:
    """Minimises from every start.

    Args:
        derivatives: theta and weights to value, gradient, Hessian.
        theta: Starts, [batch, coefficients].
        weights: [rows] for all, or [batch, rows].
        bounds: Least and greatest theta, [coefficients] each.
        most_steps: Iterations at most.
        tolerance: A start is done when its predicted fall, relative to its value, is below this.
        nothing: A value at or below this cannot be told from zero: a start there is done.

    Returns:
        The best point that each start reached.
    """
    low, high = bounds
    theta = np.clip(theta, low, high)
    shared = weights.ndim == 1
    value, gradient, hessian = derivatives(theta, weights)
    damping = np.full(len(theta), 1e-3)
    active = np.isfinite(value)
    done = np.zeros(len(theta), bool)
    steps = 0
    while active.any() and steps < most_steps:
        steps += 1
        at = np.flatnonzero(active)
        step, fall = _step(theta[at], gradient[at], hessian[at], damping[at], low, high)
        small = (fall <= tolerance * np.maximum(value[at], 1e-300)) | (value[at] <= nothing)
        done[at[small]] = True
        active[at[small]] = False
        at, step = at[~small], step[~small]
        if not at.size:
            break
        tried = np.clip(theta[at] + step, low, high)
        new_value, new_gradient, new_hessian = derivatives(
            tried, weights if shared else weights[at]
        )
        better = np.isfinite(new_value) & (new_value < value[at])
        won, lost = at[better], at[~better]
        theta[won], value[won] = tried[better], new_value[better]
        gradient[won], hessian[won] = new_gradient[better], new_hessian[better]
        damping[won] = np.maximum(damping[won] / 8, 1e-14)
        damping[lost] *= 8
        stuck = lost[damping[lost] > 1e12]
        done[stuck] = True
        active[stuck] = False
    return Solution(theta, value, hessian, done, steps)


def _step(
    theta: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
    damping: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The damped step in units scaled by the Hessian's diagonal, and the fall it predicts."""
    held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    gradient = np.where(held, 0.0, gradient)
    scale = np.sqrt(np.maximum(np.abs(np.einsum("bkk->bk", hessian)), 1e-30))
    scaled = hessian / (scale[:, :, None] * scale[:, None, :])
    free = ~held
    scaled = np.where(free[:, :, None] & free[:, None, :], scaled, 0.0)
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(np.abs(values), 1e-12) + damping[:, None]
    along = np.einsum("bkm,bk->bm", vectors, gradient / scale)
    step = -np.einsum("bkm,bm->bk", vectors, along / values) / scale
    fall = 0.5 * np.sum(along**2 / values, axis=1)
    return np.where(held, 0.0, step), fall
