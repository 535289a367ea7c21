"""A law with coefficients and their uncertainty, and the questions it answers.

`scalax.fit` returns one, fit.json stores one, and a published law of the loss becomes one. It
answers from coefficients alone: it never reads runs and never estimates anything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError
from scalax.files import as_path, write_json
from scalax.laws.base import ComputeRule, Law
from scalax.laws.resolve import resolve_law
from scalax.predict.answers import Allocation, Prediction
from scalax.predict.columns import assumptions, given_columns, positive, query_columns
from scalax.predict.data_limited import frontier
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.ensemble_law import EnsembleLaw, EnsembleMember
from scalax.predict.extrapolation import extrapolation_notes
from scalax.predict.forecast_error import ForecastError
from scalax.predict.intervals import loss_intervals, split_intervals
from scalax.predict.recommend import TrainedBy, recommend, trained_by

FORMAT = 1
"""Version of fit.json."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A law with coefficients, their uncertainty, and the range of data behind them.

    Attributes:
        law: Name of the law form, or ``ensemble``.
        coefficients: By name; None for an ensemble, whose members have their own.
        intervals: ``[low, high]`` by coefficient name; None without a bootstrap, or where fewer
            than five independent rows or trunks could be resampled.
        objective: Sum over rows of weight times the cost of the log residual; None for a
            published law and for an ensemble.
        rows: Number of rows fitted; None for a published law.
        seconds: Wall time of the fit.
        level: Nominal coverage of the intervals.
        compute: How params and tokens make up FLOPs in the rows.
        ranges: ``{column: [least, greatest]}`` of the rows fitted.
        samples: Bootstrap estimates, [resamples, coefficients], in the order of the law's
            coefficients.
        residuals: Log residuals of the rows fitted (at most a thousand, evenly picked), [rows].
        settings: Settings of the fit: weights, delta, seed, ... A sweep adds the model ``family``,
            and the ``hyperparameters`` laws that it found.
        source: The table fitted, or the paper.
        notes: Warnings.
        cautions: The notes that bear on every answer; answers repeat them.
        diagnostics: ``condition`` of the scaled Jacobian; how many ``starts`` were tried, how many
            ``agree`` with the best, and the ``spread`` of log coefficients among those.
        members: The members that ``auto`` chose.
        error: Error model of a forecast loss, learned from backtests; None without them.
        split_error: Error model of log N*; likewise.
    """

    law: str
    coefficients: dict[str, float] | None
    intervals: dict[str, list[float]] | None = None
    objective: float | None = None
    rows: int | None = None
    seconds: float | None = None
    level: float = 0.9
    compute: ComputeRule = field(default_factory=ComputeRule)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    samples: Float[np.ndarray, "resamples coefficients"] = field(
        default_factory=lambda: np.zeros((0, 0)), repr=False
    )
    residuals: Float[np.ndarray, " rows"] = field(default_factory=lambda: np.zeros(0), repr=False)
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    notes: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    diagnostics: dict[str, float] = field(default_factory=dict)
    members: list[EnsembleMember] = field(default_factory=list, repr=False)
    error: ForecastError | None = field(default=None, repr=False)
    split_error: ForecastError | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("samples", "residuals"):  # a caller may pass lists
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fit) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    @functools.cached_property
    def ensemble(self) -> EnsembleLaw | None:
        """The members as one law; None for a single law."""
        return EnsembleLaw(self.members) if self.law == ENSEMBLE else None

    @functools.cached_property
    def form(self) -> Law:
        """The law form; for an ensemble, its members as one law."""
        if self.ensemble is not None:
            return self.ensemble
        return resolve_law(self.law)

    def with_form(self, law: Law) -> Fit:
        """Returns the same fit with its law form given, which need not be registered then."""
        fit = replace(self)
        vars(fit)["form"] = law  # fills the cache of the property
        return fit

    @property
    def loss_law(self) -> Fit:
        """This fit; see `scalax.predict.protocol.ScalingLaw`."""
        return self

    @functools.cached_property
    def trained_by(self) -> TrainedBy:
        """The family and the tuned hyperparameters of the sweep behind the fit, where known."""
        return trained_by(self.settings)

    @property
    def has_split_rule(self) -> bool:
        """False: a fit splits a budget by its law of the loss."""
        return False

    def require_loss(self) -> Fit:
        """Returns this fit; see `scalax.predict.protocol.ScalingLaw`."""
        return self

    def loss(self, **columns: Any) -> Any:
        """Returns the forecast loss.

        Args:
            **columns: The columns the law reads, such as ``params`` and ``tokens``: floats or
                arrays that broadcast.

        Returns:
            The loss, of the broadcast shape.
        """
        return self.form.loss(np, self.coefficients or {}, columns)

    def predict(
        self, *, params: Any = None, tokens: Any = None, flops: Any = None, **given: Any
    ) -> Any:
        """Forecasts the loss of one or several runs.

        Args:
            params: Model parameters: a number, or a sequence.
            tokens: Training tokens: a number, or a sequence of the same length.
            flops: Training compute, for a law of it; by default from the compute rule.
            **given: The law's other columns, such as ``unique_tokens``.

        Returns:
            A `Prediction`, or a list of them in the order given.

        Raises:
            ScalaxError: A size is not positive and finite, lengths differ, or a column that the
                law reads is missing.
        """
        columns = {"params": params, "tokens": tokens, "flops": flops, **given}
        x, size, many = query_columns(self.form, self.compute, columns)
        loss = np.broadcast_to(self.loss(**x), (size,))
        low, high = loss_intervals(self, x, size)
        sizes = [
            np.broadcast_to(x[name], (size,)).tolist() if name in x else [None] * size
            for name in ("params", "tokens", "flops")
        ]
        answers = [
            Prediction(n, d, c, float(at), lo, hi)
            for n, d, c, at, lo, hi in zip(*sizes, loss, low, high, strict=True)
        ]
        return answers if many else answers[0]

    def allocate(self, flops: float, **given: float) -> Allocation:
        """Splits a compute budget between parameters and data so that the loss is least.

        Args:
            flops: The budget, in FLOPs.
            **given: The law's columns other than params and tokens, such as ``unique_tokens``.

        Returns:
            The split, its loss, intervals where the fit has backtests or samples, and a learning
            rate and batch size by the law that a note names.

        Raises:
            ScalaxError: The budget is not positive and finite, or no split of it exists.

        Example:
            >>> from scalax.predict.published_law import published_fit
            >>> answer = published_fit("hoffmann2022").allocate(5.76e23)
            >>> f"{answer.params:.3g} {answer.tokens:.3g}"
            '4.04e+10 2.38e+12'
        """
        budget = float(positive("flops", flops))
        extra = given_columns(self.form, given)
        params, tokens = self._split(budget, extra)
        loss = float(self.loss(**self.form.complete({**extra, "params": params, "tokens": tokens})))
        intervals = split_intervals(self, budget, params, tokens, loss, extra)
        notes = [*self.reach(budget, params, tokens), *assumptions(self.form, extra)]
        constant = [name for name in ("params", "tokens") if self._is_constant(name)]
        if constant:
            intervals |= {"params": None, "tokens": None}
            notes.insert(0, f"no split is known: {constant[0]} was the same in every run fitted")
        answer = Allocation(
            flops=budget,
            params=params,
            tokens=tokens,
            tokens_per_param=tokens / params,
            loss=loss,
            intervals=intervals,
            compute=self.compute.name,
            law=self.law,
            notes=notes,
        )
        return recommend(answer, self.trained_by)

    def frontier(
        self, budgets: Sequence[float], *, max_tokens: float | None = None, **given: float
    ) -> list[Allocation]:
        """Allocates each of several budgets: the compute-optimal frontier.

        Args:
            budgets: Compute budgets, in FLOPs.
            max_tokens: Tokens available; None for no limit.
            **given: The law's columns other than params and tokens.

        Returns:
            One allocation a budget, in the order given.

        Raises:
            ScalaxError: As `allocate`, or ``max_tokens`` is not positive.

        Example:
            >>> from scalax.predict.published_law import published_fit
            >>> answers = published_fit("hoffmann2022").frontier([1e20, 1e22])
            >>> [f"{answer.params:.2g}" for answer in answers]
            ['7.7e+08', '6.3e+09']
        """
        return frontier(self, budgets, max_tokens, **given)

    def reach(self, flops: Any, params: Any = None, tokens: Any = None) -> list[str]:
        """Returns the notes that bear on a query: the cautions, and how far it extrapolates.

        Args:
            flops: Compute of the query: a number, or a sequence, whose farthest value counts.
            params: Parameters, where known; likewise.
            tokens: Training tokens, where known; likewise.
        """
        return [*self.cautions, *extrapolation_notes(self.ranges, flops, params, tokens)]

    def loss_spread(self, x: Mapping[str, Any]) -> Any:
        """Returns the standard deviation of the members' log losses; 0 for a single law."""
        return 0.0 if self.ensemble is None else self.ensemble.loss_spread(x)

    def split_spread(self, flops: float) -> float:
        """Returns the standard deviation of the members' log N*; 0 for a single law."""
        return 0.0 if self.ensemble is None else self.ensemble.split_spread(flops, self.compute)

    def sampled_coefficients(
        self, most: int | None = None
    ) -> dict[str, Float[np.ndarray, " resamples"]]:
        """Returns the bootstrap estimates by coefficient name: the first ``most`` of them."""
        columns = self.samples[:most].T
        return dict(zip((c.name for c in self.form.coefficients), columns, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Returns the whole fit as JSON values: the content of fit.json."""
        values = {"format": FORMAT, **asdict(self)}
        return values | {"samples": self.samples.tolist(), "residuals": self.residuals.tolist()}

    def save(self, path: str | Path) -> None:
        """Writes fit.json atomically."""
        write_json(as_path(path), self.to_json())

    def _split(self, flops: float, extra: Mapping[str, float]) -> tuple[float, float]:
        """Returns N* and D*, and rejects a split that does not exist."""
        rest = (extra,) if extra else ()  # a plugin's closed form may take no other columns
        split = self.form.allocate(self.coefficients or {}, flops, self.compute, *rest)
        params, tokens = map(float, split)
        if not (math.isfinite(params) and math.isfinite(tokens) and params > 0 and tokens > 0):
            raise ScalaxError(f"{self.law} has no best split at {flops:g} FLOPs", where="allocate")
        if params < 1 or tokens < 1:
            raise ScalaxError(
                f"the best split of {flops:g} FLOPs by {self.law} is {params:.3g} params and "
                f"{tokens:.3g} tokens, less than one",
                where="allocate",
                fix="fit runs that vary both params and tokens",
            )
        return params, tokens

    def _is_constant(self, column: str) -> bool:
        """Whether a column had one value in all rows fitted."""
        low, high = self.ranges.get(column, [0, math.inf])
        return low == high

    def _repr_html_(self) -> str:
        def row(name: str, value: float) -> str:
            span = self.intervals.get(name) if self.intervals else None
            text = f"{span[0]:.4g} to {span[1]:.4g}" if span else ""
            return f"<tr><td>{name}</td><td>{value:.5g}</td><td>{text}</td></tr>"

        rows = "".join(row(name, value) for name, value in (self.coefficients or {}).items())
        for member in self.members:
            rows += row(f"share of {member.law} ({member.weights})", member.share)
        about = f"{self.law}: {self.form.equation}"
        return f"<table><caption>{about} ({self.source})</caption>{rows}</table>"
