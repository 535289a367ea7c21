"""`fit`: from a runs table to a law with coefficients, their uncertainty and their range."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from scalax import registry
from scalax.errors import ScalaxError
from scalax.fit.constraints import constrain
from scalax.fit.cost import Cost, Kind
from scalax.fit.diagnostics import constant_columns, few_rows
from scalax.fit.identifiability import conditioning
from scalax.fit.objective import Objective
from scalax.fit.rows import WEIGHTS, Weights, compute_rule, evenly, ranges, weigh
from scalax.fit.solve import solve
from scalax.fit.starts import grid_starts
from scalax.fit.uncertainty import bootstrap, clusters_told
from scalax.laws.base import Law
from scalax.predict.fit_result import Fit
from scalax.runs.clean import best_per_point
from scalax.runs.clean import clean as drop
from scalax.runs.diagnostics import in_bits, suspicions
from scalax.runs.read import check, read_runs
from scalax.runs.table import Runs


@dataclass(frozen=True)
class FitSettings:
    """What is asked of a fit.

    Attributes:
        law: Name of the law form.
        metric: The column to fit.
        weights: ``flat``, ``compute``: the square root of flops, or ``flops``; of mean 1.
        delta: Where the Huber loss on the log residual turns linear.
        drop_worst: How many rows of the highest metric to drop.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Of the resampling.
        level: Nominal coverage of the intervals.
        cost: ``huber``, ``l1``, ``l2``, ``student`` or ``asymmetric``: what a log residual costs.
        fixed: Coefficients held at a value.
        ties: Pairs of coefficients kept equal.
        bounds: Least and greatest value by coefficient, within the law's own.
        rollout: Whether forecasts get intervals from rollouts; ``auto`` always does.
    """

    law: str = "chinchilla"
    metric: str = "loss"
    weights: Weights = "flat"
    delta: float = 1e-3
    drop_worst: int = 0
    bootstrap: int = 0
    seed: int = 0
    level: float = 0.9
    cost: Kind = "huber"
    fixed: Mapping[str, float] = field(default_factory=dict)
    ties: Sequence[tuple[str, str]] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rollout: bool = False

    def __post_init__(self) -> None:
        for name, fine, expected in (
            ("weights", self.weights in WEIGHTS, "flat, compute or flops"),
            ("delta", math.isfinite(self.delta) and self.delta > 0, "a positive number"),
            ("bootstrap", self.bootstrap >= 0, "0 or more"),
            ("seed", self.seed >= 0, "0 or more"),
            ("level", 0 < self.level < 1, "a share between 0 and 1"),
        ):
            if not fine:
                raise ScalaxError(f"expected {expected}, got {getattr(self, name)!r}", where=name)


def fit(
    runs: Runs | str,
    law: str = "chinchilla",
    *,
    columns: Mapping[str, str] | None = None,
    metric: str = "loss",
    weights: Weights = "flat",
    delta: float = 1e-3,
    drop_worst: int = 0,
    bootstrap: int = 0,
    seed: int = 0,
    level: float = 0.9,
    cost: Kind = "huber",
    fixed: Mapping[str, float] | None = None,
    ties: Sequence[tuple[str, str]] = (),
    bounds: Mapping[str, tuple[float, float]] | None = None,
    rollout: bool = False,
    clean: bool = False,
) -> Fit:
    """Fits a law to a runs table.

    Args:
        runs: A table from `read_runs`, or the path of one.
        law: Name of the law form, or ``"auto"`` for what forecast this table's own largest
            budgets best, with intervals from those forecasts, or ``"posterior"`` for the prior
            over published laws updated by the runs: for few runs, as after `scalax plan`.
        columns: Our column names to theirs, where ``runs`` is a path.
        metric: The column to fit; held-out loss by default.
        weights: ``"flat"``, ``"compute"`` for the square root of flops, or ``"flops"``; mean 1.
        delta: Where the Huber loss on the log residual turns linear.
        drop_worst: How many rows of the highest metric to drop.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Of the resampling.
        level: Nominal coverage of the intervals.
        cost: What a log residual costs: ``"huber"``, ``"l1"``, ``"l2"``, ``"student"`` or
            ``"asymmetric"``; see `scalax.fit.cost.Cost`.
        fixed: Coefficients held at a value, such as ``{"E": 1.69}``.
        ties: Pairs of coefficients kept equal, such as ``[("alpha", "beta")]``.
        bounds: Least and greatest value of a coefficient, such as ``{"E": (1.0, 2.0)}``.
        rollout: Whether rollouts teach how far forecasts may miss, so that `predict` and
            `allocate` give intervals that hold; ``law="auto"`` always does.
        clean: Whether to drop near-duplicates, off-centre isoFLOP points and outliers as well;
            see `scalax.fit.outliers`.

    Returns:
        The law with its coefficients; ``notes`` holds the warnings.

    Raises:
        ScalaxError: The table or a setting is unusable; names the row, column or setting.

    Example:
        >>> from scalax.runs.table import Runs
        >>> n, d = np.meshgrid([1e6, 1e7, 1e8], [1e8, 1e9, 1e10])
        >>> loss = 1.7 + 400 / n.ravel() ** 0.34 + 410 / d.ravel() ** 0.28
        >>> table = {"params": n.ravel(), "tokens": d.ravel(), "loss": loss}
        >>> round(fit(Runs.from_columns(table)).coefficients["alpha"], 6)
        0.34
    """
    settings = FitSettings(
        law,
        metric,
        weights,
        delta,
        drop_worst,
        bootstrap,
        seed,
        level,
        cost,
        dict(fixed or {}),
        tuple(ties),
        dict(bounds or {}),
        rollout,
    )
    table = read_runs(runs, columns, metric) if not isinstance(runs, Runs) else check(runs, metric)
    table = best_per_point(drop(table, metric=metric, drop_worst=drop_worst), metric)
    if clean:
        from scalax.fit.outliers import tidy

        table = tidy(table, metric)
    table = table.noted(*suspicions(table, metric))
    return fit_table(table, settings)


def fit_table(runs: Runs, settings: FitSettings) -> Fit:
    """Fits a law to every row of a table that is already checked and cleaned; see `fit`."""
    if settings.law == "auto":
        from scalax.fit.auto import fit_auto

        return fit_auto(runs, settings)
    if settings.law == "posterior":
        from scalax.fit.posterior import fit_posterior

        return fit_posterior(runs, settings)
    started = time.perf_counter()
    law: Law = registry.get("law", settings.law)
    held = constrain(law, settings.fixed, settings.ties, settings.bounds)
    _demand_rows(len(runs), law, held.free, runs)
    cautions = [*few_rows(len(runs), held.free, law), *constant_columns(runs, law)]
    objective = Objective(
        law,
        {name: np.asarray(runs[name], float) for name in law.columns},
        np.log(runs[settings.metric]),
        Cost(settings.cost, settings.delta),
        limits=held.limits,
    )
    weights = weigh(runs["flops"], settings.weights)
    found = solve(objective, weights, held)
    if found is None:
        raise _not_finite(law, f"the {len(runs)} rows of {runs.source}")
    theta = found.theta
    condition, told = conditioning(objective, theta, weights, held)
    cautions += told
    notes = [*runs.notes, *found.notes, *cautions]

    intervals, samples = None, np.zeros((0, len(law.coefficients)))
    enough = False
    if settings.bootstrap:
        enough, told = clusters_told(runs)
        notes += told
    if enough:
        samples = bootstrap(
            objective, theta, weights, runs, settings.bootstrap, settings.seed, held
        )
        tail = (1 - settings.level) / 2
        low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
        intervals = {
            c.name: [float(low[k]), float(high[k])] for k, c in enumerate(law.coefficients)
        }
    rule, error, split = compute_rule(runs, law), None, None
    if settings.rollout:
        from scalax.fit.auto import forecast_errors

        error, split = forecast_errors(runs, law, settings, held, rule)
    residuals = -objective.residuals(theta[None])[0]
    if settings.metric == "loss":
        notes += in_bits(runs, residuals)
    return Fit(
        law=law.name,
        coefficients=_named(objective, theta),
        intervals=intervals,
        objective=found.value,
        rows=len(runs),
        seconds=time.perf_counter() - started,
        level=settings.level,
        compute=rule,
        ranges=ranges(runs),
        samples=samples,
        residuals=evenly(np.sort(residuals)),
        settings=asdict(settings),
        source=runs.source,
        notes=notes,
        cautions=cautions,
        diagnostics={"condition": condition, **found.starts},
        error=error,
        split_error=split,
    )


def demand_finite(law: Law, columns: Mapping[str, np.ndarray]) -> None:
    """Raises a ScalaxError where a law has no finite loss at rows that are to be trained for.

    Args:
        law: The form.
        columns: Its columns, [rows] each.
    """
    rows = len(next(iter(columns.values())))
    objective = Objective(law, columns, np.zeros(rows))
    if not len(grid_starts(objective, np.ones(rows), 1, constrain(law, {}, (), {}))):
        raise _not_finite(law, f"the {rows} runs planned")


def _not_finite(law: Law, rows: str) -> ScalaxError:
    return ScalaxError(
        f"its loss is finite for no coefficients on {rows}",
        where=registry.told("law", law.name),
        fix="scalax plugins check tells what is wrong with a law, or choose another",
    )


def _named(objective: Objective, theta: np.ndarray) -> dict[str, float]:
    return {k: float(v[0]) for k, v in objective.coefficients(theta[None]).items()}


def _demand_rows(rows: int, law: Law, free: int, runs: Runs) -> None:
    if rows < free - 2:
        raise ScalaxError(
            f"{rows} usable rows for the {free} coefficients of {law.name}",
            where=runs.source,
            fix=f"give at least {free - 2} runs, better {2 * free}",
        )
