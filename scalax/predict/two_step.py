"""Forecasts a downstream metric in two steps: size to loss, then loss to metric."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.predict.answers import Prediction
from scalax.predict.protocol import LossLaw


@dataclass(frozen=True)
class DownstreamPrediction:
    """Forecast of a downstream metric at one point.

    Attributes:
        params: Model parameters.
        tokens: Training tokens.
        flops: Training compute, in FLOPs.
        loss: Forecast of the held-out loss.
        metric: Forecast of the downstream metric.
        low: Lower end of the metric's interval; None where the law of the loss has no intervals.
        high: Upper end of that interval.
    """

    params: float | None
    tokens: float | None
    flops: float | None
    loss: float
    metric: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the forecast as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TwoStep:
    """A law of the loss, followed by a law of a metric as a function of the loss.

    Attributes:
        loss: The first law, from size and data to loss.
        metric: The second law, from loss to metric. Its only column is ``loss``, as in
            ``loss-to-error``.

    Example:
        >>> from scalax.predict.fit_result import Fit
        >>> first = Fit("overtraining", {"E": 1.51, "a": 141.0, "b": 190.0, "eta": 0.121})
        >>> second = Fit("loss-to-error", {"epsilon": 0.850, "k": 2.08, "gamma": 0.756})
        >>> answer = TwoStep(first, second).predict(params=1.44e9, tokens=2.88e10)
        >>> round(answer.loss, 2), round(answer.metric, 3)
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
        """Forecasts the metric at one or several points; arguments as in `Fit.predict`.

        Returns:
            A `DownstreamPrediction`, or a list of them. Its interval is the interval of the loss
            mapped through the second law; it does not include the error of the second law.
        """
        losses = self.loss.predict(**columns)
        if isinstance(losses, list):
            return [self._downstream(p) for p in losses]
        return self._downstream(losses)

    def _downstream(self, p: Prediction) -> DownstreamPrediction:
        low = high = None
        if p.low is not None and p.high is not None:
            low, high = sorted(self._metric_at(end) for end in (p.low, p.high))
        return DownstreamPrediction(
            p.params, p.tokens, p.flops, p.loss, self._metric_at(p.loss), low, high
        )

    def _metric_at(self, loss: float) -> float:
        return float(self.metric.loss(loss=np.float64(loss)))
