"""How runs err together: what a smooth law misses, and the noise of a measurement.

No law is exact. What it misses is taken to be smooth in log compute: its second derivative is
white noise of a given size, so that it is nothing near the anchor, where the coordinates of
`belief` are defined and absorb level and slope, and grows as distance^1.5 to both sides. Runs far
below the anchor then count for little, which is what weights by compute do by rule of thumb. The
place of the best size drifts likewise. Runs far off the best size err by a shared skew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FORMS = (0.002, 0.005)
"""What log loss is off by at 1 e-fold of compute from the anchor is this over the square root of
3; at 100 times the compute 1.1 to 2.9 %. The loss forecasts of public sweeps missed by such a
share (`python tools/bench_forecast.py`, less its two largest budgets)."""
NOISES = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
"""Relative deviations of a measured loss that are weighed against each other."""
SPLIT_FORM = 10.0
"""The same for log N*, as a multiple: its 0.06 an e-fold was learned where 0.004 was for loss
(`scalax.fit.calibration`)."""
_SKEW = 0.0015
_SKEW_RANGE = 3.0
_WIGGLE = 0.0007
_WIGGLE_RANGE = 1.0
TRUNK_SHARE = 0.5
"""The part of the noise's variance that the branches of a trunk have in common."""


@dataclass(frozen=True)
class Places:
    """Where runs lie.

    Attributes:
        below: How far their compute lies below the anchor, in e-folds, [rows].
        off: How far their log FLOPs a token lie off the best, [..., rows].
        size: Their log FLOPs a token, [rows].
        bend: Of the law there, as in `belief`, [...].
    """

    below: np.ndarray
    off: np.ndarray
    size: np.ndarray
    bend: np.ndarray | float


def shared(places: Places, form: float | np.ndarray) -> np.ndarray:
    """Covariance [..., rows, rows] of what a law of such a form error misses at runs.

    Args:
        places: Of the runs; its ``...`` broadcasts against that of ``form``.
        form: See `FORMS`; a number, or [..., 1, 1].
    """
    walk = _walk(places.below)
    apart = places.below[:, None] - places.below
    moved = np.asarray(places.bend)[..., None] * places.off
    skew = places.off**3
    near = np.exp(-0.5 * (apart / _SKEW_RANGE) ** 2)
    close = apart**2 + (places.size[:, None] - places.size) ** 2
    return np.asarray(
        form**2 * walk * (1 + SPLIT_FORM**2 * _outer(moved))
        + _SKEW**2 * _outer(skew) * near
        + _WIGGLE**2 * np.exp(-0.5 * close / _WIGGLE_RANGE**2)
    )


def beyond(form: float | np.ndarray, distance: float) -> np.ndarray:
    """Variance of what a forecast so many e-folds above the anchor misses of log loss."""
    return np.asarray(np.square(form) * abs(distance) ** 3 / 3)


def noise(trunks: np.ndarray) -> np.ndarray:
    """Correlation [rows, rows] of the noise of runs.

    Args:
        trunks: A number for each trunk, another for each run that has none, [rows].
    """
    same = trunks[:, None] == trunks
    return np.asarray(TRUNK_SHARE * same + (1 - TRUNK_SHARE) * np.eye(len(trunks)))


def trunk_numbers(names: list[str | None]) -> np.ndarray:
    """Equal numbers for runs of one trunk; a run alone has its own."""
    known: dict[str, int] = {}
    count = len(names)
    return np.asarray(
        [count + known.setdefault(n, len(known)) if n else k for k, n in enumerate(names)]
    )


def _walk(below: np.ndarray) -> np.ndarray:
    """Covariance of a twice integrated white noise that starts at the anchor."""
    near, far = np.minimum(below[:, None], below), np.maximum(below[:, None], below)
    return near**2 * far / 2 - near**3 / 6


def _outer(values: np.ndarray) -> np.ndarray:
    return values[..., :, None] * values[..., None, :]
