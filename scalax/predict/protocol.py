"""What every law that answers queries offers: a `Fit`, or a published law.

Callers (commands, budgets, plans, reports, simulations) use this protocol and never ask which of
the two a law is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from scalax.array_types import Float
from scalax.laws.base import ComputeRule, Law
from scalax.predict.answers import Allocation
from scalax.predict.ensemble_law import EnsembleMember
from scalax.predict.forecast_error import ForecastError
from scalax.predict.recommend import TrainedBy


@runtime_checkable
class ScalingLaw(Protocol):
    """A law with coefficients that forecasts losses, splits budgets, or both."""

    @property
    def law(self) -> str:
        """Name of the law form, or of the published law."""

    @property
    def coefficients(self) -> dict[str, float] | None:
        """All coefficients by name; None for an ensemble."""

    @property
    def source(self) -> str:
        """The table fitted, or the paper."""

    @property
    def level(self) -> float:
        """Nominal coverage of the intervals."""

    @property
    def compute(self) -> ComputeRule:
        """How params and tokens make up FLOPs."""

    @property
    def ranges(self) -> dict[str, list[float]]:
        """``{column: [least, greatest]}`` of the runs behind the law, where known."""

    @property
    def loss_law(self) -> LossLaw | None:
        """The law of the loss; None where a paper gives none."""

    @property
    def trained_by(self) -> TrainedBy:
        """How the runs behind the law were trained: family, and laws of the hyperparameters."""

    @property
    def has_split_rule(self) -> bool:
        """Whether `allocate` follows a paper's own rule rather than the law of the loss."""

    def require_loss(self) -> LossLaw:
        """Returns the law of the loss, or raises a ScalaxError where there is none."""

    def loss(self, **columns: Any) -> Any:
        """Returns the loss at columns that broadcast."""

    def predict(self, **columns: Any) -> Any:
        """Forecasts the loss of one or several runs; see `Fit.predict`."""

    def allocate(self, flops: float, **given: float) -> Allocation:
        """Splits a compute budget between parameters and data."""

    def frontier(
        self, budgets: Sequence[float], *, max_tokens: float | None = None, **given: float
    ) -> list[Allocation]:
        """Allocates each of several budgets."""


@runtime_checkable
class LossLaw(ScalingLaw, Protocol):
    """A law of the loss with its uncertainty: a `Fit`."""

    @property
    def form(self) -> Law:
        """The law form; for an ensemble, its members as one law."""

    @property
    def members(self) -> Sequence[EnsembleMember]:
        """The members of an ensemble; empty or one for a single law."""

    @property
    def samples(self) -> Float[np.ndarray, "resamples coefficients"]:
        """Bootstrap estimates; of no rows without a bootstrap."""

    @property
    def residuals(self) -> Float[np.ndarray, " rows"]:
        """Log residuals of the rows fitted."""

    @property
    def error(self) -> ForecastError | None:
        """Error model of a forecast loss."""

    @property
    def split_error(self) -> ForecastError | None:
        """Error model of log N*."""

    def sampled_coefficients(
        self, most: int | None = None
    ) -> dict[str, Float[np.ndarray, " resamples"]]:
        """Returns the bootstrap estimates by coefficient name: the first ``most`` of them."""

    def loss_spread(self, x: Mapping[str, Any]) -> Any:
        """Returns the standard deviation of the members' log losses; 0 for a single law."""

    def split_spread(self, flops: float) -> float:
        """Returns the standard deviation of the members' log N*; 0 for a single law."""

    def reach(self, flops: Any, params: Any = None, tokens: Any = None) -> list[str]:
        """Returns the notes that bear on a query: cautions and extrapolation."""
