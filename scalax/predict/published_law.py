"""A published law whose paper gives more, or less, than a law of the loss.

Such a law splits a budget by its paper's own rule and forecasts a loss only where the paper gives
one. What it does not know is None.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from scalax.laws.published import Published, get_published
from scalax.predict.answers import Allocation
from scalax.predict.columns import positive
from scalax.predict.data_limited import frontier
from scalax.predict.fit_result import Fit
from scalax.predict.recommend import TrainedBy, recommend


@dataclass(frozen=True)
class PublishedLaw:
    """A published rule of the best split, with a law of the loss where the paper gives one.

    Attributes:
        entry: The coefficients and their source.
        fit: The law of the loss; None where the paper gives none.
        level: Nominal coverage, as in `Fit`; a published law has no intervals.
        compute: The compute rule that gives tokens from params, or params from tokens.

    Example:
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
        """Name of the published law."""
        return self.entry.name

    @property
    def coefficients(self) -> dict[str, float]:
        """All its numbers by name."""
        return self.entry.coefficients

    @property
    def source(self) -> str:
        """The paper, and the table, equation or section."""
        return f"{self.entry.paper}; {self.entry.where}"

    @property
    def ranges(self) -> dict[str, list[float]]:
        """``{column: [least, greatest]}`` of the runs behind it, where the paper states them."""
        return self.entry.ranges

    @property
    def loss_law(self) -> Fit | None:
        """The law of the loss; None where the paper gives none."""
        return self.fit

    @property
    def trained_by(self) -> TrainedBy:
        """The paper's own law of learning rate and batch size, where it gives one."""
        return TrainedBy(published=self.law if self.entry.hyperparameters else None)

    @property
    def has_split_rule(self) -> bool:
        """Whether the paper gives a rule of the best split."""
        return self.entry.allocation is not None

    def predict(self, **columns: Any) -> Any:
        """Forecasts the loss, where the paper gives a law of it; see `Fit.predict`.

        Raises:
            ScalaxError: The paper gives no law of the loss.
        """
        return self.require_loss().predict(**columns)

    def loss(self, **columns: Any) -> Any:
        """Returns the loss, where the paper gives a law of it; see `Fit.loss`."""
        return self.require_loss().loss(**columns)

    def allocate(self, flops: float, **given: float) -> Allocation:
        """Splits a compute budget by the paper's rule.

        Args:
            flops: The budget, in FLOPs.
            **given: Must be empty: such a rule depends on compute alone.

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
                fix="choose a law that gives one, such as --law hoffmann2022",
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
            notes=[f"N counts {self.entry.params_counted}", *self._extrapolation(budget)],
        )
        return recommend(answer, self.trained_by)

    def frontier(
        self, budgets: Sequence[float], *, max_tokens: float | None = None, **given: float
    ) -> list[Allocation]:
        """Allocates each of several budgets; see `Fit.frontier`."""
        return frontier(self, budgets, max_tokens, **given)

    def require_loss(self) -> Fit:
        """Returns the law of the loss.

        Raises:
            ScalaxError: The paper gives none.
        """
        if self.fit is None:
            raise ScalaxError(
                f"{self.law} gives {' and '.join(self.entry.gives)}, no loss",
                where="predict",
                fix="choose a law that gives one, such as --law hoffmann2022",
            )
        return self.fit

    def demand_loss(self) -> Fit:
        """Deprecated name of `require_loss`."""
        warnings.warn("use PublishedLaw.require_loss", DeprecationWarning, stacklevel=2)
        return self.require_loss()

    def _extrapolation(self, flops: float) -> list[str]:
        span = self.entry.ranges.get("flops")
        if span and flops > span[1]:
            return [f"{flops / span[1]:,.3g} times the compute of the largest run behind it"]
        return []


def published_fit(name: str) -> Fit | PublishedLaw:
    """Returns a published law, without intervals.

    Args:
        name: Such as ``hoffmann2022``; `scalax laws list` shows all.

    Returns:
        A `Fit` where the paper gives a law of the loss alone; else a `PublishedLaw`, which splits
        budgets by the paper's own rule.

    Raises:
        ScalaxError: No published law has that name.
    """
    entry = get_published(name)
    fit = None
    if entry.law:
        fit = Fit(
            law=entry.law,
            coefficients=dict(entry.loss_coefficients),
            ranges={k: list(map(float, v)) for k, v in entry.ranges.items()},
            source=f"{entry.paper}; {entry.where}",
        )
    if fit is not None and entry.gives == ["loss", "allocation"] and not entry.allocation:
        return fit
    return PublishedLaw(entry, fit)
