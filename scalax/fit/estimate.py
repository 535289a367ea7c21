"""`scalax.fit`: fits a law to a runs table.

It prepares the rows, then calls the estimator: of a single law (in this module), of ``auto``
(`scalax.fit.auto`) or of ``posterior`` (`scalax.fit.posterior_fit`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, cast, runtime_checkable

import numpy as np

from scalax import registry
from scalax.array_types import Float
from scalax.errors import ScalaxError
from scalax.fit.constraints import Constraints, constrain
from scalax.fit.cost import Cost
from scalax.fit.diagnostics import constant_columns, few_rows
from scalax.fit.identifiability import identifiability
from scalax.fit.keywords import takes_settings
from scalax.fit.objective import Objective
from scalax.fit.prepare import prepare_runs
from scalax.fit.rows import compute_rule, evenly, ranges, row_weights, weights_note
from scalax.fit.settings import SEVERAL_LAWS, EstimatorSettings, FitSettings, fit_settings
from scalax.fit.solve import solve
from scalax.fit.starts import grid_starts
from scalax.fit.uncertainty import bootstrap, can_resample
from scalax.laws.base import Law
from scalax.laws.resolve import LawLike, law_reference, resolve_law
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.runs.diagnostics import bits_warnings
from scalax.runs.table import Runs
from scalax.runs.tabular import Table

P = ParamSpec("P")


@runtime_checkable
class _FitFunction(Protocol[P]):
    """The signature of `fit`: a table, a law, and the settings as keywords."""

    def __call__(
        self, runs: Table, law: LawLike = "auto", *args: P.args, **settings: P.kwargs
    ) -> Fit: ...


def _typed(settings: Callable[P, EstimatorSettings]) -> Callable[..., _FitFunction[P]]:
    """Adds the settings to a function's signature, for type checkers and for ``help()``."""

    def decorate(function: Callable[..., Fit]) -> _FitFunction[P]:
        fields = cast(type[EstimatorSettings], settings)
        return cast(_FitFunction[P], takes_settings(fields)(function))

    return decorate


@_typed(EstimatorSettings)
def fit(runs: Table, law: LawLike = "auto", **settings: Any) -> Fit:
    """Fits a law to a runs table.

    Args:
        runs: The path of a table or of a sweep's folder, a data frame of pandas, polars or another
            library that narwhals supports, a dict of columns, or a `Runs`. It needs the metric and
            the columns that the law reads.
        law: The name of a law form, a formula, a `Law` or a subclass of it. ``"auto"`` combines the
            laws that best forecast the table's own largest budgets, with intervals from these
            forecasts. ``"posterior"`` updates a prior over published laws; use it for few rows,
            such as the runs of ``scalax plan``.
        **settings: The fields of `scalax.fit.settings.FitSettings`, which are also the options of
            ``scalax fit`` and the keys of an experiment's ``[fit]`` section.

    Returns:
        The law with its coefficients, intervals and the range of the data; ``notes`` contains the
        warnings.

    Raises:
        ScalaxError: The table or a setting is unusable. The message names the row, column or
            setting.

    Example:
        >>> n, d = np.meshgrid([1e6, 1e7, 1e8], [1e8, 1e9, 1e10])
        >>> loss = 1.7 + 400 / n.ravel() ** 0.34 + 410 / d.ravel() ** 0.28
        >>> table = {"params": n.ravel(), "tokens": d.ravel(), "loss": loss}
        >>> round(fit(table, "chinchilla").coefficients["alpha"], 6)
        0.34
    """
    form = None if law in SEVERAL_LAWS else resolve_law(law)
    name = law_reference(form) if form is not None else law
    chosen = fit_settings(law=name, **settings)
    return fit_table(rows_of(runs, chosen, form), chosen, form)


def rows_of(
    runs: Table, settings: FitSettings, law: Law | None = None, *, every_setting: bool = False
) -> Runs:
    """Prepares the rows that a fit with these settings uses.

    Args:
        runs: The table.
        settings: The settings of the fit.
        law: The law form; by default the one that the settings name.
        every_setting: Whether to keep all runs at one point (size and amount of data) instead of
            only the best.

    Raises:
        ScalaxError: The table is unusable; see `prepare_runs`.
    """
    form = law or (None if settings.law in SEVERAL_LAWS else resolve_law(settings.law))
    return prepare_runs(
        runs,
        metric=settings.metric,
        columns=settings.columns,
        drop_worst=settings.drop_worst,
        clean=settings.clean,
        reads=None if form is None else form.columns,
        every_setting=every_setting,
    )


def fit_table(runs: Runs, settings: FitSettings, law: Law | None = None) -> Fit:
    """Fits all rows of a table that `rows_of` returned.

    Args:
        runs: The rows.
        settings: The settings of the fit.
        law: The law form; by default the one that the settings name.

    Raises:
        ScalaxError: Too few rows, a setting that the law does not allow, or no finite loss.
    """
    if settings.law == "auto":
        from scalax.fit.auto import fit_auto

        return fit_auto(runs, settings)
    if settings.law == "posterior":
        from scalax.fit.posterior_fit import fit_posterior

        return fit_posterior(runs, settings)
    return _fit_law(runs, law or resolve_law(settings.law), settings)


def _fit_law(runs: Runs, law: Law, settings: FitSettings) -> Fit:
    """Fits a single law."""
    started = time.perf_counter()
    constraints = constrain(law, settings.fixed, settings.ties, settings.bounds)
    _require_rows(len(runs), law, constraints.free, runs)
    cautions = [*few_rows(len(runs), constraints.free, law), *constant_columns(runs, law)]
    objective = Objective(
        law,
        {name: np.asarray(runs[name], float) for name in law.columns},
        np.log(runs[settings.metric]),
        Cost(settings.cost, settings.delta),
        limits=constraints.limits,
    )
    weights = row_weights(runs, settings.weights)
    solution = solve(objective, weights, constraints)
    if solution is None:
        raise _not_finite(law, f"the {len(runs)} rows of {runs.source}")
    theta = solution.theta
    condition, warnings = identifiability(objective, theta, weights, constraints)
    cautions += warnings
    notes = [*runs.notes, *weights_note(runs, settings.weights), *solution.notes, *cautions]
    samples, intervals, warnings = _bootstrap(
        runs, objective, theta, weights, constraints, settings
    )
    notes += warnings
    error, split_error, warnings = _backtest_errors(runs, law, constraints, settings)
    notes += warnings
    residuals = -objective.residuals(theta[None])[0]
    if settings.metric == "loss":
        notes += bits_warnings(runs, residuals)
    return Fit(
        law=law_reference(law),
        coefficients={k: float(v[0]) for k, v in objective.coefficients(theta[None]).items()},
        intervals=intervals,
        objective=solution.value,
        rows=len(runs),
        seconds=time.perf_counter() - started,
        level=settings.level,
        compute=compute_rule(runs, law),
        ranges=ranges(runs),
        samples=samples,
        residuals=evenly(np.sort(residuals)),
        settings=settings.to_json(),
        source=runs.source,
        notes=notes,
        cautions=cautions,
        diagnostics={"condition": condition, **solution.starts},
        error=error,
        split_error=split_error,
    ).with_form(law)


def _bootstrap(
    runs: Runs,
    objective: Objective,
    theta: Float[np.ndarray, " coefficients"],
    weights: Float[np.ndarray, " rows"],
    constraints: Constraints,
    settings: FitSettings,
) -> tuple[Float[np.ndarray, "resamples coefficients"], dict[str, list[float]] | None, list[str]]:
    """Returns resampled coefficients [resamples, coefficients], their intervals, and notes."""
    names = [c.name for c in objective.law.coefficients]
    none = np.zeros((0, len(names)))
    if not settings.bootstrap:
        return none, None, []
    possible, notes = can_resample(runs)
    if not possible:
        return none, None, notes
    samples = bootstrap(
        objective, theta, weights, runs, settings.bootstrap, settings.seed, constraints
    )
    tail = (1 - settings.level) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    intervals = {name: [float(low[k]), float(high[k])] for k, name in enumerate(names)}
    return samples, intervals, notes


def _backtest_errors(
    runs: Runs, law: Law, constraints: Constraints, settings: FitSettings
) -> tuple[ForecastError | None, ForecastError | None, list[str]]:
    """Returns the error models of the loss and of log N*, where backtests give them, and notes."""
    if not settings.backtest:
        return None, None, []
    from scalax.fit.auto import forecast_errors

    try:
        return forecast_errors(runs, law, settings, constraints)
    except ScalaxError as error:  # the fit itself succeeded
        return None, None, [f"no intervals from backtests: {error.message}"]


def require_finite(law: Law, columns: Mapping[str, np.ndarray]) -> None:
    """Checks, before runs are trained, that a law can have a finite loss on all of them.

    Args:
        law: The law form.
        columns: The law's columns by name, [rows] each.

    Raises:
        ScalaxError: No coefficients give a finite loss.
    """
    rows = len(next(iter(columns.values())))
    objective = Objective(law, columns, np.zeros(rows))
    if not len(grid_starts(objective, np.ones(rows), 1, constrain(law, {}, (), {}))):
        raise _not_finite(law, f"the {rows} planned runs")


def _not_finite(law: Law, rows: str) -> ScalaxError:
    return ScalaxError(
        f"no coefficients give a finite loss on {rows}",
        where=registry.describe("law", law.name),
        fix="find the fault with scalax plugins check, or name another law with --law",
    )


def _require_rows(rows: int, law: Law, free: int, runs: Runs) -> None:
    if rows < free - 2:
        raise ScalaxError(
            f"{rows} usable rows for the {free} coefficients of {law.name} (expected {free - 2} or "
            "more)",
            where=runs.source,
            fix=f"add runs, better up to {2 * free}, or fix a coefficient: --fix NAME=VALUE",
        )
