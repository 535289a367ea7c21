"""From size to loss to a downstream metric: two laws, one after the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.predict.answers import Prediction
from scalax.predict.protocol import LossLaw


@dataclass(frozen=True)
class DownstreamPrediction:
    """The metric forecast at one point.

    Attributes:
        params: Model parameters.
        tokens: Training tokens.
        flops: Training compute, in FLOPs.
        loss: Forecast of the held-out loss there.
        metric: Forecast of the downstream metric.
        low: Lower end of its interval; None where the law of the loss gives none.
        high: Upper end of it.
    """

    params: float | None
    tokens: float | None
    flops: float | None
    loss: float
    metric: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TwoStep:
    """A law of the loss, and a law of a metric as a function of it.

    Attributes:
        loss: The first step.
        metric: The second: a fit of a law whose only column is ``loss``, such as
            ``loss-to-error``.

    Example:
        >>> from scalax.predict.fit_result import Fit
        >>> first = Fit("overtraining", {"E": 1.51, "a": 141.0, "b": 190.0, "eta": 0.121})
        >>> second = Fit("loss-to-error", {"epsilon": 0.850, "k": 2.08, "gamma": 0.756})
        >>> found = TwoStep(first, second).predict(params=1.44e9, tokens=2.88e10)
        >>> round(found.loss, 2), round(found.metric, 3)
        (2.65, 0.569)
    """

    loss: LossLaw
    metric: LossLaw

    def __post_init__(self) -> None:
        if self.metric.form.columns != ("loss",):
            raise ScalaxError(
                f"expected a law of the loss, got {self.metric.law}",
                where="the second step",
                fix="fit one: scalax fit RUNS --law loss-to-error --metric error",
            )

    def predict(self, **columns: Any) -> Any:
        """Forecasts the metric; arguments as `Fit.predict`.

        Returns:
            A `DownstreamPrediction`, or a list of them. Its interval is the loss's, carried
            through the second law: it leaves out the scatter around that law.
        """
        first = self.loss.predict(**columns)
        if isinstance(first, list):
            return [self._then(p) for p in first]
        return self._then(first)

    def _then(self, p: Prediction) -> DownstreamPrediction:
        low = high = None
        if p.low is not None and p.high is not None:
            low, high = sorted(self._at(end) for end in (p.low, p.high))
        return DownstreamPrediction(
            p.params, p.tokens, p.flops, p.loss, self._at(p.loss), low, high
        )

    def _at(self, loss: float) -> float:
        return float(self.metric.loss(loss=np.float64(loss)))
