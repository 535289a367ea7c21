"""A law with coefficients, however they were come by, and the questions it answers.

It is what `scalax.fit` returns, what fit.json holds, and what a published law becomes. It
answers from coefficients alone: it never reads runs and never estimates anything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scalax import registry
from scalax.errors import ScalaxError
from scalax.files import as_path, write_json
from scalax.laws.base import ComputeRule, Law
from scalax.laws.published import get_published
from scalax.predict.answers import Allocation, Prediction
from scalax.predict.columns import assumptions, given_columns, positive, query_columns
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.ensemble_law import Mixture
from scalax.predict.forecast_error import ForecastError
from scalax.predict.published_law import PublishedLaw
from scalax.predict.recommend import recommend

FORMAT = 1
_FAR = 100
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True)
class Fit:
    """A law with coefficients, their uncertainty, and the range of data behind them.

    Attributes:
        law: Name of the law form, or ``ensemble``.
        coefficients: By name; None for an ensemble, whose members have them.
        intervals: ``[low, high]`` by coefficient name, or None where no bootstrap was asked for, or
            fewer than five independent rows or trunks could be resampled.
        objective: Sum over rows of weight times the cost of the log residual; None if published,
            or an ensemble.
        rows: Rows fitted; None if published.
        seconds: Wall time of the fit.
        level: Nominal coverage of the intervals.
        compute: How params and tokens make up FLOPs, as found in the rows.
        ranges: ``{column: [least, greatest]}`` of the rows fitted.
        samples: Bootstrap estimates, one list a resample, in the order of the law's coefficients.
        residuals: Log residuals of the rows fitted (at most a thousand, evenly picked).
        settings: What was asked of the fit: weights, delta, seed, ...
        source: The table fitted, or the paper.
        notes: Warnings.
        cautions: Those of the notes that bear on every answer, so that answers repeat them.
        diagnostics: ``condition`` of the scaled Jacobian; how many ``starts`` were tried, how many
            ``agree`` with the best, and the ``spread`` of log coefficients among those.
        members: What ``auto`` chose: ``law``, ``weights``, ``share`` and ``coefficients`` each.
        error: How far a forecast loss may miss, learned from rollouts; None where none were made.
        split_error: How far log N* may miss.
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
    samples: list[list[float]] = field(default_factory=list, repr=False)
    residuals: list[float] = field(default_factory=list, repr=False)
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    notes: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    diagnostics: dict[str, float] = field(default_factory=dict)
    members: list[dict[str, Any]] = field(default_factory=list, repr=False)
    error: ForecastError | None = field(default=None, repr=False)
    split_error: ForecastError | None = field(default=None, repr=False)

    @functools.cached_property
    def form(self) -> Law:
        """The law form itself; for an ensemble, its members as one."""
        if self.law == ENSEMBLE:
            return Mixture(
                [registry.get("law", member["law"]) for member in self.members],
                [member["coefficients"] for member in self.members],
                [member["share"] for member in self.members],
            )
        form: Law = registry.get("law", self.law)
        return form

    def loss(self, **columns: Any) -> Any:
        """The forecast loss.

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
        """Forecasts the loss of a run, or of many.

        Args:
            params: Model parameters: a number, or a sequence.
            tokens: Training tokens: a number, or a sequence of the same length.
            flops: Training compute, for a law of it; by default the compute rule's.
            **given: The law's other columns, such as ``unique_tokens``.

        Returns:
            A `Prediction`, or a list of them in the order given.

        Raises:
            ScalaxError: A size that is not positive and finite, lengths that differ, or a column
                that the law reads and that is not given.
        """
        columns = {"params": params, "tokens": tokens, "flops": flops, **given}
        x, size, many = query_columns(self.form, self.compute, columns)
        loss = np.broadcast_to(self.loss(**x), (size,))
        low, high = self._loss_interval(x, size)
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
            The split, its loss, intervals where the fit carries samples, and a learning rate and
            batch size by the law that a note names.

        Raises:
            ScalaxError: The budget is not positive and finite, or no split of it exists.

        Example:
            >>> found = published_fit("hoffmann2022").allocate(5.76e23)
            >>> f"{found.params:.3g} {found.tokens:.3g}"
            '4.04e+10 2.38e+12'
        """
        budget = float(positive("flops", flops))
        extra = given_columns(self.form, given)
        rest = (extra,) if extra else ()  # a plugin's closed form may take no other columns
        split = self.form.allocate(self.coefficients or {}, budget, self.compute, *rest)
        params, tokens = map(float, split)
        if not (math.isfinite(params) and math.isfinite(tokens) and params > 0 and tokens > 0):
            raise ScalaxError(f"{self.law} has no best split at {budget:g} FLOPs", where="allocate")
        if params < 1 or tokens < 1:
            raise ScalaxError(
                f"the best split of {budget:g} FLOPs by {self.law} is {params:.3g} params and "
                f"{tokens:.3g} tokens, less than one",
                where="allocate",
                fix="fit runs that vary both params and tokens",
            )
        x = self.form.complete({**extra, "params": params, "tokens": tokens})
        loss = float(self.loss(**x))
        intervals: dict[str, list[float] | None] = dict.fromkeys(("params", "tokens", "loss"))
        if self.error is not None:
            intervals = self._error_intervals(budget, params, tokens, loss)
        elif self.samples:
            drawn = self._drawn()
            n, d = self.form.allocate(drawn, budget, self.compute, *rest)
            at = self.form.loss(np, drawn, self.form.complete({**extra, "params": n, "tokens": d}))
            intervals = {
                "params": self._quantiles(np.asarray(n)),
                "tokens": self._quantiles(np.asarray(d)),
                "loss": self._quantiles(np.asarray(at)),
            }
        notes = [*self.reach(budget, params, tokens), *assumptions(self.form, extra)]
        same = [name for name in ("params", "tokens") if self._constant(name)]
        if same:
            intervals |= {"params": None, "tokens": None}
            notes.insert(0, f"no split is known: {same[0]} was the same in every run fitted")
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
        return recommend(answer)

    def to_json(self) -> dict[str, Any]:
        """All of the fit as JSON values; what fit.json holds."""
        return {"format": FORMAT, **asdict(self)}

    def save(self, path: str | Path) -> None:
        """Writes fit.json, whole or not at all."""
        write_json(as_path(path), self.to_json())

    def _spread(self, x: Mapping[str, Any]) -> Any:
        """How far the members of an ensemble stand apart, in log units; 0 for a law alone."""
        return self.form.spread(x) if isinstance(self.form, Mixture) else 0.0

    def _error_intervals(
        self, flops: float, params: float, tokens: float, loss: float
    ) -> dict[str, list[float] | None]:
        """Intervals from the errors of rollouts; those of N* and D* mirror each other."""
        assert self.error is not None
        x = {"params": params, "tokens": tokens}
        outside = self._outside(x)
        low, high = self.error.interval(loss, flops, self._spread(x), outside)
        found: dict[str, list[float] | None] = {"params": None, "tokens": None}
        if self.split_error is not None:
            spread = 0.0
            if isinstance(self.form, Mixture):
                spread = self.form.split_spread(flops, self.compute)
            error = self.split_error.interval(params, flops, spread, outside)
            ends = [float(end) for end in error]
            found["params"] = ends
            found["tokens"] = [float(self.compute.tokens(end, flops)) for end in reversed(ends)]
        return {**found, "loss": [float(low), float(high)]}

    def _drawn(self) -> dict[str, np.ndarray]:
        columns = np.asarray(self.samples, dtype=float).T
        return dict(zip((c.name for c in self.form.coefficients), columns, strict=True))

    def _quantiles(self, values: np.ndarray) -> list[float]:
        tail = (1 - self.level) / 2
        return [float(q) for q in np.quantile(values, [tail, 1 - tail])]

    def _loss_interval(self, x: Mapping[str, Any], size: int) -> tuple[list[Any], list[Any]]:
        """From the errors of rollouts; without them, quantiles of resampled laws, each with a
        residual drawn from the fit's own."""
        if self.error is not None and "flops" in x:
            loss, outside = self.loss(**x), self._outside(x)
            ends = self.error.interval(loss, x["flops"], self._spread(x), outside)
            low, high = (np.broadcast_to(end, (size,)).tolist() for end in ends)
            return low, high
        if not self.samples or not self.residuals:
            return [None] * size, [None] * size
        drawn = {name: column[:, None] for name, column in self._drawn().items()}
        losses = self.form.loss(np, drawn, x) * np.ones(size)
        # Log residuals add to the log of each resampled law's loss; all pairs would be too many.
        rng = np.random.default_rng(0)
        noise = rng.choice(np.asarray(self.residuals), size=losses.shape)
        low, high = np.quantile(
            losses * np.exp(noise), [(1 - self.level) / 2, (1 + self.level) / 2], axis=0
        )
        return low.tolist(), high.tolist()

    def reach(self, flops: Any, params: Any = None, tokens: Any = None) -> list[str]:
        """What bears on the answer to a query: the fit's cautions, and how far off its rows lie.

        Args:
            flops: Compute of the query: a number, or a sequence, of which the farthest counts.
            params: Its parameters, where known; likewise.
            tokens: Its tokens, where known; likewise.

        Returns:
            The cautions; a sentence where compute lies beyond the rows; and one where params or
            tokens (or compute, where those are not given) lie further outside them than that.
        """
        greatest = self.ranges.get("flops", [0, math.inf])[1]
        times = float(np.max(flops)) / greatest if greatest else math.inf
        found = [*self.cautions]
        if times > 1:
            found.append(_told(times, "times the compute of the largest run fitted"))
        x = {"params": params, "tokens": tokens}
        given = {name: np.asarray(value, float) for name, value in x.items() if value is not None}
        for name, value in (given or {"flops": np.asarray(flops, float)}).items():
            low, high = self.ranges.get(name, [0, math.inf])
            word = "compute" if name == "flops" else name
            for far, where in (
                (float(value.max()) / high, f"times the {word} of the largest run fitted"),
                (low / (float(value.min()) or math.inf), f"times below the {word} of the smallest"),
            ):
                if far > max(times, 1) * _ROUNDING:
                    found.append(_told(far, where))
        return found

    def _outside(self, x: Mapping[str, Any]) -> Any:
        """How far params and tokens lie outside the rows fitted, above or below, in e-folds: the
        further of the two, and 0 within. For compute alone, how far it lies below them."""
        found: Any = 0.0
        for name in [n for n in ("params", "tokens") if n in x] or ["flops"]:
            if name in self.ranges:
                low, high = self.ranges[name]
                with np.errstate(divide="ignore"):
                    found = np.maximum(found, np.log(np.maximum(x[name] / high, low / x[name])))
        return found

    def _constant(self, name: str) -> bool:
        """Whether a column was the same in all the rows fitted."""
        low, high = self.ranges.get(name, [0, math.inf])
        return low == high

    def _repr_html_(self) -> str:
        def row(name: str, value: float) -> str:
            span = self.intervals.get(name) if self.intervals else None
            text = f"{span[0]:.4g} to {span[1]:.4g}" if span else ""
            return f"<tr><td>{name}</td><td>{value:.5g}</td><td>{text}</td></tr>"

        rows = "".join(row(name, value) for name, value in (self.coefficients or {}).items())
        for member in self.members:
            rows += row(f"share of {member['law']} ({member['weights']})", member["share"])
        about = f"{self.law}: {self.form.equation}"
        return f"<table><caption>{about} ({self.source})</caption>{rows}</table>"


def _told(times: float, where: str) -> str:
    if times <= _FAR:
        return f"{times:,.3g} {where}"
    return f"{times:,.3g} {where}: beyond what the data supports, the form of the law decides there"


def published_fit(name: str) -> Fit | PublishedLaw:
    """A published law, without intervals.

    Args:
        name: Such as ``hoffmann2022``; `scalax laws list` shows all.

    Returns:
        A fit where the paper gives a law of the loss alone; else a `PublishedLaw`, which splits
        budgets by the paper's own rule.

    Raises:
        ScalaxError: No such name.
    """
    found = get_published(name)
    fit = None
    if found.law:
        fit = Fit(
            law=found.law,
            coefficients=dict(found.loss_coefficients),
            ranges={k: list(map(float, v)) for k, v in found.ranges.items()},
            source=f"{found.paper}; {found.where}",
        )
    if fit is not None and found.gives == ["loss", "allocation"] and not found.allocation:
        return fit
    return PublishedLaw(found, fit)
