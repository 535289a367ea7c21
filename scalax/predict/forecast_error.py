"""The error model of a forecast: noise, form error that grows with distance, and spread.

`scalax.fit.calibration` estimates its numbers, and fit.json stores them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_DISTANCE = 0.2
"""Distance used for a forecast inside the data, in e-folds: no form is exact there either."""


@dataclass(frozen=True)
class ForecastError:
    """The error of a forecast's logarithm, as a scale times a quantile.

    scale^2 = noise^2 + (form * distance^power)^2 + (doubt * spread)^2. The distance is the larger
    of two, and at least 0.2: the log of compute over the largest fitted, and the distance of params
    or tokens from the rows. The spread is the standard deviation of an ensemble's members.

    Attributes:
        reach: Largest compute fitted, in FLOPs.
        noise: Deviation of a single measurement, in log units.
        form: Error of the form at one e-fold of compute beyond the data, in log units.
        power: Exponent of its growth with distance.
        doubt: Factor on the members' spread.
        quantile: Half width of the interval, in units of the scale, at the fit's level.
        column: The column that ``reach`` and distance are measured in: ``flops``, or ``params`` or
            ``tokens`` for a law of that variable alone.
    """

    reach: float
    noise: float
    form: float
    power: float
    doubt: float
    quantile: float
    column: str = "flops"

    def scale(self, flops: Any, spread: Any = 0.0, outside: Any = 0.0) -> Any:
        """Returns the scale of the error, in log units.

        Args:
            flops: Compute of the forecast point.
            spread: Standard deviation of the members' log forecasts there.
            outside: Distance of params or tokens from the rows, in e-folds.

        Example:
            >>> error = ForecastError(1e20, 0.003, 0.004, 1.0, 1.0, 2.0)
            >>> round(float(error.scale(1e20 * np.e)), 6)
            0.005
        """
        beyond = np.log(np.asarray(flops) / self.reach)
        distance = np.maximum(np.maximum(beyond, outside), LEAST_DISTANCE)
        return np.sqrt(
            self.noise**2
            + (self.form * distance**self.power) ** 2
            + (self.doubt * np.asarray(spread)) ** 2
        )

    def interval(
        self, value: Any, flops: Any, spread: Any = 0.0, outside: Any = 0.0
    ) -> tuple[Any, Any]:
        """Returns the low and high ends of an interval at the fit's level; shapes as `scale`."""
        factor = np.exp(self.quantile * self.scale(flops, spread, outside))
        return value / factor, value * factor
