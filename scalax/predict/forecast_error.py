"""How far a forecast may miss: noise, the error of the form that grows with distance, and doubt.

Its numbers are learned by `scalax.fit.calibration` and travel in fit.json; nothing is learned here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_DISTANCE = 0.2
"""Of a forecast inside the data, in e-folds of compute: no form is exact there either."""


@dataclass(frozen=True)
class ForecastError:
    """The error of a forecast's logarithm, as a scale times a quantile.

    scale^2 = noise^2 + (form * distance^power)^2 + (doubt * spread)^2, where distance is the log
    of compute over the largest fitted, or how far params or tokens lie outside the rows where that
    is more (at least 0.2), and spread how far the members of an ensemble stand apart.

    Attributes:
        reach: Largest compute fitted, in FLOPs.
        noise: Of a single measurement, in log units.
        form: Error of the form at one e-fold of compute beyond the data, in log units.
        power: How it grows with distance.
        doubt: What the members' spread counts.
        quantile: Half width of the interval in scales, at the fit's level.
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
        """The scale of the error, in log units.

        Args:
            flops: Compute of the forecast point.
            spread: Standard deviation of the members' log forecasts there.
            outside: How far the point lies outside the rows' params or tokens, in e-folds.

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
        """Low and high ends about a forecast, at the fit's level; shapes as `scale`."""
        factor = np.exp(self.quantile * self.scale(flops, spread, outside))
        return value / factor, value * factor
