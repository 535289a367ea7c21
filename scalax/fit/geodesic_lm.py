"""The last digits of one solve: Gauss-Newton steps by a singular value decomposition.

A Hessian squares the condition of the Jacobian, so that Newton's step is lost in rounding where the
rows barely tell two coefficients apart. Here the Jacobian itself is decomposed, each step damped
until the exact objective falls, and bent along the valley by the second derivative in its
direction (Transtrum and Sethna 2012, arXiv:1201.5885, section 4). It takes one start at a time
and is only for those that need it.
"""

from __future__ import annotations

import numpy as np

from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

_STEPS = 1500
_LEAST_DAMPING = 1e-30
_STUCK = 1e8
_STILL = 1e-13
_NUDGE = 0.1
_MOST_BEND = 0.5


def polish(
    objective: Objective,
    weights: np.ndarray,
    held: Constraints,
    free: np.ndarray,
    nothing: float,
) -> tuple[np.ndarray, float, bool]:
    """Steps from a point as long as the objective falls.

    Args:
        objective: What to minimise.
        weights: [rows].
        held: What the fit may move.
        free: The start, [free].
        nothing: A value at or below this cannot be told from zero.

    Returns:
        The end, its objective, and whether it converged.
    """
    low, high = held.bounds(*objective.bounds())
    value = float(objective.value(held.expand(free[None]), weights)[0])
    damping = 1e-6
    for _ in range(_STEPS):
        if value <= nothing:
            return free, value, True
        theta = held.expand(free[None])[0]
        r = objective.residuals(theta[None])[0]
        root = np.sqrt(np.maximum(weights * objective.cost.bowl(r), 0))
        jacobian = root[:, None] * objective.jacobian(theta) @ held.matrix
        if not np.isfinite(jacobian).all():
            return free, value, False
        slope = jacobian.T @ (root * r)
        stopped = ((free <= low) & (slope > 0)) | ((free >= high) & (slope < 0))
        jacobian = np.where(stopped, 0.0, jacobian)
        length = np.sqrt(np.sum(jacobian**2, axis=0)) + 1e-300
        left, sizes, right = np.linalg.svd(jacobian / length, full_matrices=False)
        best = value
        while damping < _STUCK:
            inverse = (right.T * (sizes / (sizes**2 + damping))) @ left.T / length[:, None]
            step = -inverse @ (root * r)
            nudged = objective.residuals(held.expand((free + _NUDGE * step)[None]))[0]
            curve = 2 / _NUDGE * (root * (nudged - r) / _NUDGE - jacobian @ step)
            bend = np.zeros_like(step)
            if np.isfinite(curve).all():
                bend = -0.5 * inverse @ curve
            if np.sum((bend * length) ** 2) > _MOST_BEND * np.sum((step * length) ** 2):
                bend = np.zeros_like(step)
            tried = np.clip(free + step + bend, low, high)
            reached = float(objective.value(held.expand(tried[None]), weights)[0])
            if reached < value:
                free, value, damping = tried, reached, max(damping / 16, _LEAST_DAMPING)
                break
            damping *= 8
        if damping >= _STUCK or best - value <= _STILL * best:
            return free, value, True
    return free, value, False
