"""A batched Newton solver: minimises one objective from many starts or for many resamples at once.

Each step uses the exact Hessian with its negative eigenvalues made positive, is damped until the
objective falls, and is projected onto the bounds. This module knows nothing about laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalax.array_types import Bool, Float
from scalax.fit.derivatives import Derivatives


@dataclass(frozen=True)
class Solution:
    """The end points of a batch of solves.

    Attributes:
        theta: [batch, coefficients].
        value: The objective at theta, [batch].
        hessian: The Hessian at theta, [batch, coefficients, coefficients].
        converged: Whether the last predicted fall was negligible, [batch].
        steps: Number of iterations.
    """

    theta: Float[np.ndarray, "batch coefficients"]
    value: Float[np.ndarray, " batch"]
    hessian: Float[np.ndarray, "batch coefficients coefficients"]
    converged: Bool[np.ndarray, " batch"]
    steps: int


def minimise(
    derivatives: Callable[[np.ndarray, np.ndarray], Derivatives],
    theta: Float[np.ndarray, "batch coefficients"],
    weights: Float[np.ndarray, "*weighted rows"],
    bounds: tuple[Float[np.ndarray, " coefficients"], Float[np.ndarray, " coefficients"]],
    *,
    most_steps: int = 200,
    tolerance: float = 1e-13,
    negligible: float = 0.0,
) -> Solution:
    """Minimises from every start of a batch.

    Args:
        derivatives: Function of theta and weights that returns value, gradient and Hessian.
        theta: Starts, [batch, coefficients].
        weights: [rows], shared by the batch, or [batch, rows].
        bounds: Least and greatest theta, [coefficients] each.
        most_steps: Maximum number of iterations.
        tolerance: A start has converged when its predicted relative fall is below this.
        negligible: A start has converged when its objective is at or below this.

    Returns:
        The end point of each start.
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
        small = (fall <= tolerance * np.maximum(value[at], 1e-300)) | (value[at] <= negligible)
        done[at[small]] = True
        active[at[small]] = False
        at, step = at[~small], step[~small]
        if not at.size:
            break
        trial = np.clip(theta[at] + step, low, high)
        new_value, new_gradient, new_hessian = derivatives(
            trial, weights if shared else weights[at]
        )
        better = np.isfinite(new_value) & (new_value < value[at])
        accepted, rejected = at[better], at[~better]
        theta[accepted], value[accepted] = trial[better], new_value[better]
        gradient[accepted], hessian[accepted] = new_gradient[better], new_hessian[better]
        damping[accepted] = np.maximum(damping[accepted] / 8, 1e-14)
        damping[rejected] *= 8
        stuck = rejected[damping[rejected] > 1e12]
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
    """Returns the damped step [batch, coefficients] and the fall that it predicts [batch]."""
    at_bound = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    gradient = np.where(at_bound, 0.0, gradient)
    scale = np.sqrt(np.maximum(np.abs(np.einsum("bkk->bk", hessian)), 1e-30))
    scaled = hessian / (scale[:, :, None] * scale[:, None, :])
    free = ~at_bound
    scaled = np.where(free[:, :, None] & free[:, None, :], scaled, 0.0)
    values, vectors = np.linalg.eigh(scaled)
    values = np.maximum(np.abs(values), 1e-12) + damping[:, None]
    along = np.einsum("bkm,bk->bm", vectors, gradient / scale)
    step = -np.einsum("bkm,bm->bk", vectors, along / values) / scale
    fall = 0.5 * np.sum(along**2 / values, axis=1)
    return np.where(at_bound, 0.0, step), fall
