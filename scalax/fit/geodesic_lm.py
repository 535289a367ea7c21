"""A fallback for ill-conditioned fits: Gauss-Newton steps by a singular value decomposition.

A Hessian squares the condition number of the Jacobian, so Newton steps are lost in rounding where
the rows barely distinguish two coefficients. This solver decomposes the Jacobian itself, damps each
step until the exact objective falls, and bends it along the valley by the second derivative in its
direction (Transtrum and Sethna 2012, arXiv:1201.5885, section 4). It takes one start at a time.
`scalax.fit.solve` calls it only where the starts of `scalax.fit.newton` disagree. Without it, the
fits of 2 in 20 noise-free mixture-of-experts tables miss the true coefficients.
"""

from __future__ import annotations

import numpy as np

from scalax.array_types import Float
from scalax.fit.constraints import Constraints
from scalax.fit.objective import Objective

_STEPS = 1500
_LEAST_DAMPING = 1e-30
_STUCK_DAMPING = 1e8
_LEAST_RELATIVE_FALL = 1e-13
_PROBE = 0.1
_MOST_BEND = 0.5


def polish(
    objective: Objective,
    weights: Float[np.ndarray, " rows"],
    constraints: Constraints,
    free: Float[np.ndarray, " free"],
    negligible: float,
) -> tuple[Float[np.ndarray, " free"], float, bool]:
    """Minimises the objective from one start.

    Args:
        objective: The objective to minimise.
        weights: [rows].
        constraints: The directions that the fit may move in.
        free: The start, [free].
        negligible: A value at or below this counts as zero.

    Returns:
        The end point [free], its objective, and whether it converged.
    """
    low, high = constraints.bounds(*objective.bounds())
    value = float(objective.value(constraints.expand(free[None]), weights)[0])
    damping = 1e-6
    for _ in range(_STEPS):
        if value <= negligible:
            return free, value, True
        theta = constraints.expand(free[None])[0]
        r = objective.residuals(theta[None])[0]
        root = np.sqrt(np.maximum(weights * objective.cost.bowl(r), 0))
        jacobian = root[:, None] * objective.jacobian(theta) @ constraints.matrix
        if not np.isfinite(jacobian).all():
            return free, value, False
        slope = jacobian.T @ (root * r)
        at_bound = ((free <= low) & (slope > 0)) | ((free >= high) & (slope < 0))
        jacobian = np.where(at_bound, 0.0, jacobian)
        length = np.sqrt(np.sum(jacobian**2, axis=0)) + 1e-300
        left, sizes, right = np.linalg.svd(jacobian / length, full_matrices=False)
        before = value
        while damping < _STUCK_DAMPING:
            inverse = (right.T * (sizes / (sizes**2 + damping))) @ left.T / length[:, None]
            step = -inverse @ (root * r)
            probed = objective.residuals(constraints.expand((free + _PROBE * step)[None]))[0]
            curve = 2 / _PROBE * (root * (probed - r) / _PROBE - jacobian @ step)
            bend = np.zeros_like(step)
            if np.isfinite(curve).all():
                bend = -0.5 * inverse @ curve
            if np.sum((bend * length) ** 2) > _MOST_BEND * np.sum((step * length) ** 2):
                bend = np.zeros_like(step)
            trial = np.clip(free + step + bend, low, high)
            trial_value = float(objective.value(constraints.expand(trial[None]), weights)[0])
            if trial_value < value:
                free, value, damping = trial, trial_value, max(damping / 16, _LEAST_DAMPING)
                break
            damping *= 8
        if damping >= _STUCK_DAMPING or before - value <= _LEAST_RELATIVE_FALL * before:
            return free, value, True
    return free, value, False
