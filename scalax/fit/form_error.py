"""Covariance of the errors of runs: the error of a smooth law form, and measurement noise.

No law is exact. Its error is modelled as smooth in log compute: the second derivative is white
noise of a given size. At the anchor, where the coordinates of `scalax.fit.prior` absorb level and
slope, the error is 0; it grows as distance^1.5 to both sides. Runs far below the anchor therefore
count for little, as with row weights by compute. The best size drifts in the same way, and runs far
off the best size share a skew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float

FORMS = (0.002, 0.005)
"""Form errors that are weighed against each other. The error of log loss at 1 e-fold of compute
from the anchor is this over the square root of 3; at 100 times the compute 1.1 to 2.9 %, as the
loss forecasts of public sweeps missed (`python tools/bench_forecast.py`, without their two largest
budgets)."""
NOISES = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
"""Relative deviations of a measured loss that are weighed against each other."""
SPLIT_FORM = 10.0
"""Form error of log N* as a multiple of that of log loss. `scalax.fit.calibration` has 0.06 an
e-fold for log N* and 0.004 for log loss."""
_SKEW = 0.0015
"""Error at one e-fold of size off the best; it grows with the third power."""
_SKEW_RANGE = 3.0
"""Correlation length of the skew, in e-folds of compute."""
_WIGGLE = 0.0007
"""Error that neighbouring runs share at any distance from the anchor."""
_WIGGLE_RANGE = 1.0
"""Correlation length of that error, in e-folds of compute and of size."""
TRUNK_SHARE = 0.5
"""Share of the noise's variance that the branches of a trunk have in common."""


@dataclass(frozen=True)
class RunPositions:
    """Positions of runs relative to the anchor and to the best size.

    Attributes:
        below: Distance of the compute below the anchor, in e-folds, [rows].
        off: Log FLOPs a token minus those of the best size, [..., rows].
        size: Log FLOPs a token, [rows].
        bend: Curvature of the log loss across sizes, as in `scalax.fit.prior`, [...].
    """

    below: Float[np.ndarray, " rows"]
    off: Float[np.ndarray, "*laws rows"]
    size: Float[np.ndarray, " rows"]
    bend: Float[np.ndarray, "*laws"] | float


def error_covariance(positions: RunPositions, form: float | np.ndarray) -> np.ndarray:
    """Returns the covariance of a law's errors at runs, [..., rows, rows].

    Args:
        positions: Positions of the runs; their ``...`` broadcasts against that of ``form``.
        form: Form error, see `FORMS`: a number, or [..., 1, 1].
    """
    walk = _walk(positions.below)
    apart = positions.below[:, None] - positions.below
    shift = np.asarray(positions.bend)[..., None] * positions.off
    skew = positions.off**3
    near = np.exp(-0.5 * (apart / _SKEW_RANGE) ** 2)
    close = apart**2 + (positions.size[:, None] - positions.size) ** 2
    return np.asarray(
        form**2 * walk * (1 + SPLIT_FORM**2 * _outer(shift))
        + _SKEW**2 * _outer(skew) * near
        + _WIGGLE**2 * np.exp(-0.5 * close / _WIGGLE_RANGE**2)
    )


def forecast_variance(form: float | np.ndarray, distance: float) -> np.ndarray:
    """Returns the variance of log loss by form error, ``distance`` e-folds above the anchor."""
    return np.asarray(np.square(form) * abs(distance) ** 3 / 3)


def noise_correlation(trunks: np.ndarray) -> np.ndarray:
    """Returns the correlation of the noise of runs, [rows, rows].

    Args:
        trunks: Number of each row's trunk, [rows]; runs without a trunk have numbers of their own.
    """
    same = trunks[:, None] == trunks
    return np.asarray(TRUNK_SHARE * same + (1 - TRUNK_SHARE) * np.eye(len(trunks)))


def trunk_numbers(names: list[str | None]) -> np.ndarray:
    """Returns equal numbers for runs of one trunk, and a number of its own for every other run."""
    known: dict[str, int] = {}
    count = len(names)
    return np.asarray(
        [count + known.setdefault(n, len(known)) if n else k for k, n in enumerate(names)]
    )


def _walk(below: np.ndarray) -> np.ndarray:
    """Returns the covariance of white noise that is integrated twice from the anchor."""
    near, far = np.minimum(below[:, None], below), np.maximum(below[:, None], below)
    return near**2 * far / 2 - near**3 / 6


def _outer(values: np.ndarray) -> np.ndarray:
    return values[..., :, None] * values[..., None, :]
