"""What every law that answers queries offers: a `Fit`, or a published law.

Callers (commands, budgets, plans, reports, simulations) use this protocol and never ask which of
the two a law is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from scalax.laws.base import ComputeRule
from scalax.predict.answers import Allocation

if TYPE_CHECKING:
    from scalax.predict.fit_result import Fit


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
    def loss_law(self) -> Fit | None:
        """The law of the loss; None where a paper gives none."""

    @property
    def hyperparameter_law(self) -> str | None:
        """Name of the law's own learning rate and batch size; None where it gives none."""

    @property
    def has_split_rule(self) -> bool:
        """Whether `allocate` follows a paper's own rule rather than the law of the loss."""

    def require_loss(self) -> Fit:
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
