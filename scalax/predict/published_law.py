"""What a published law answers where it is more, or less, than a law of the loss.

Such a law splits a budget by its paper's own rule. It forecasts a loss only where the paper gives
one; what it does not know is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from scalax.laws.published import Published
from scalax.predict.answers import Allocation
from scalax.predict.columns import positive
from scalax.predict.recommend import recommend

if TYPE_CHECKING:
    from scalax.predict.fit_result import Fit


@dataclass(frozen=True)
class PublishedLaw:
    """A published rule of the best split, with the law of the loss beside it where there is one.

    Attributes:
        entry: What the paper gives.
        fit: Its law of the loss; None where it gives none.
        level: As of a `Fit`; it has no intervals.
        compute: The compute rule that gives tokens from params, or params from tokens.

    Example:
        >>> from scalax.predict.fit_result import published_fit
        >>> answer = published_fit("llama3").allocate(3.8e25)
        >>> f"{answer.tokens:.4g}", answer.loss
        ('1.655e+13', None)
    """

    entry: Published
    fit: Fit | None = None
    level: float = 0.9
    compute: ComputeRule = field(default_factory=ComputeRule)

    @property
    def law(self) -> str:
        """Its name."""
        return self.entry.name

    @property
    def coefficients(self) -> dict[str, float]:
        """All its numbers by name."""
        return self.entry.coefficients

    @property
    def source(self) -> str:
        """The paper, and where in it."""
        return f"{self.entry.paper}; {self.entry.where}"

    def predict(self, **columns: Any) -> Any:
        """Forecasts the loss, where the paper gives a law of it; see `Fit.predict`.

        Raises:
            ScalaxError: It gives none.
        """
        return self.demand_loss().predict(**columns)

    def loss(self, **columns: Any) -> Any:
        """The forecast loss, where the paper gives a law of it; see `Fit.loss`."""
        return self.demand_loss().loss(**columns)

    def allocate(self, flops: float, **given: float) -> Allocation:
        """Splits a compute budget by the paper's rule.

        Args:
            flops: The budget, in FLOPs.
            **given: Must be empty: such a rule reads compute alone.

        Raises:
            ScalaxError: The budget is not positive, the paper gives no split, or columns are
                given.
        """
        budget = float(positive("flops", flops))
        if given:
            raise ScalaxError(
                f"{self.law} reads compute alone, not {', '.join(given)}", where="allocate"
            )
        if self.entry.allocation is None:
            raise ScalaxError(
                f"{self.law} gives {' and '.join(self.entry.gives)}, not the split of a budget",
                where="allocate",
                fix="write --law hoffmann2022, say",
            )
        params, tokens = map(float, self.entry.allocation.split(budget, self.compute))
        answer = Allocation(
            flops=budget,
            params=params,
            tokens=tokens,
            tokens_per_param=tokens / params,
            loss=float(self.fit.loss(params=params, tokens=tokens)) if self.fit else None,
            intervals=dict.fromkeys(("params", "tokens", "loss")),
            compute=self.entry.compute.partition(",")[0],
            law=self.law,
            notes=[f"N counts {self.entry.params_counted}", *self._reach(budget)],
        )
        return recommend(answer, self.law if self.entry.hyperparameters else None)

    def demand_loss(self) -> Fit:
        """Its law of the loss.

        Raises:
            ScalaxError: It has none.
        """
        if self.fit is None:
            raise ScalaxError(
                f"{self.law} gives {' and '.join(self.entry.gives)}, no loss",
                where="predict",
                fix="write --law hoffmann2022, say",
            )
        return self.fit

    def _reach(self, flops: float) -> list[str]:
        span = self.entry.ranges.get("flops")
        if span and flops > span[1]:
            return [f"{flops / span[1]:,.3g} times the compute of the largest run behind it"]
        return []
