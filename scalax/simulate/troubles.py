"""Errors of measured losses: noise, bad tuning, spikes and drift.

Every random number comes from the generator that the caller passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.form_error import TRUNK_SHARE

_MISTUNED = 0.01  # mean rise of log loss by bad tuning
_OUTLIER = (0.05, 0.3)  # least and greatest rise of log loss by a spike
_PERIOD = (4.0, 12.0)  # least and greatest period of a drift, in decades of compute


@dataclass(frozen=True)
class Troubles:
    """Sizes of the errors that synthetic losses have.

    Attributes:
        noise: Relative standard deviation of the loss from run to run.
        mistuned: Share of runs with a bad learning rate. Their loss rises by an exponentially
            distributed amount with a mean of 1 %.
        outliers: Share of runs with a spike that they do not recover from. Their loss rises by
            5 to 35 %.
        drift: Error of the form: the root mean square, over seeds, of the error of log loss one
            decade of compute above the smallest run, and x times that x decades above it. See
            `Drift`.
    """

    noise: float = 0.003
    mistuned: float = 0.0
    outliers: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            limit = 1.0 if field.name in ("mistuned", "outliers") else 0.5
            if not 0 <= value <= limit:
                raise ScalaxError(
                    f"expected a number from 0 to {limit:g}, got {value:g}",
                    where=f"--{field.name}",
                    fix=f"write --{field.name} 0.01",
                )


@dataclass(frozen=True)
class Drift:
    """An error that grows smoothly with log compute and is not in the form of any law here.

    The error of log loss is ``size * sqrt(2) * x * sin(phase + 2 pi x / period)`` at x decades of
    compute above ``origin``. Over phases its mean is 0 and its root mean square ``size * x``.

    Attributes:
        size: Error in log loss per decade.
        origin: FLOPs at which the error is 0.
        phase: Phase in radians.
        period: Period in decades.

    Example:
        >>> drift = Drift(size=0.01, origin=1e18, phase=math.pi / 2, period=4.0)
        >>> [round(float(v), 6) + 0.0 for v in drift(np.array([1e18, 1e19, 1e20]))]
        [0.0, 0.0, -0.028284]
    """

    size: float
    origin: float
    phase: float
    period: float

    @classmethod
    def draw(cls, size: float, origin: float, rng: np.random.Generator) -> Drift:
        """Draws a random phase, and a period of 4 to 12 decades."""
        return cls(size, origin, float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(*_PERIOD)))

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        """Returns the error of log loss at ``flops``, of the same shape."""
        x = np.maximum(np.log10(flops / self.origin), 0.0)
        wave = np.sin(self.phase + 2 * np.pi * x / self.period)
        return np.asarray(self.size * math.sqrt(2) * x * wave)


def add_troubles(
    log_loss: np.ndarray,
    trunks: np.ndarray,
    troubles: Troubles,
    rng: np.random.Generator,
) -> np.ndarray:
    """Adds noise, bad tuning and spikes to log losses; `Drift` is separate.

    Args:
        log_loss: Log losses of the law, [rows].
        trunks: Number of the trunk of each run; separate runs have their own, [rows].
        troubles: Sizes of the errors.
        rng: Source of all random numbers.

    Returns:
        Log losses as they would be measured, [rows].
    """
    rows = len(log_loss)
    _, trunk = np.unique(trunks, return_inverse=True)
    common = rng.standard_normal(trunk.max() + 1)[trunk] if rows else np.zeros(0)
    own = rng.standard_normal(rows)
    noise = math.sqrt(TRUNK_SHARE) * common + math.sqrt(1 - TRUNK_SHARE) * own
    mistuned = np.where(
        _random_mask(rows, troubles.mistuned, rng), rng.exponential(_MISTUNED, rows), 0.0
    )
    spikes = np.where(_random_mask(rows, troubles.outliers, rng), rng.uniform(*_OUTLIER, rows), 0.0)
    return np.asarray(log_loss + troubles.noise * noise + mistuned + spikes)


def _random_mask(rows: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a mask with a random share of the rows, rounded to whole rows."""
    mask = np.zeros(rows, bool)
    mask[rng.permutation(rows)[: round(share * rows)]] = True
    return mask
