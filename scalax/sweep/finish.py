"""Ends a sweep once its runs are trained: fit, forecast, check runs, allocation and report.

Only the check runs use all processes; everything else happens on process 0.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scalax.errors import ScalaxError
from scalax.files import write_json
from scalax.fit.estimate import fit_table, rows_of
from scalax.fit.hyperparameters import Tuning
from scalax.predict.answers import Allocation
from scalax.predict.fit_result import Fit
from scalax.report.outcome import ForecastCheck, Outcome
from scalax.sweep.execute import Executor
from scalax.sweep.execution_plan import ExecutionPlan
from scalax.sweep.experiment import Experiment
from scalax.sweep.fit_hyperparameters import fit_hyperparameters
from scalax.sweep.parallel import train_groups
from scalax.sweep.plan import Plan, Run
from scalax.sweep.results import Results

BEYOND = 10
"""The reported allocation is for this many times the compute of the largest run trained."""


def finish(
    executor: Executor, plan: Plan, experiment: Experiment, execution: ExecutionPlan
) -> Outcome | None:
    """Fits, forecasts, trains the check runs, compares and reports.

    Args:
        executor: Executor that has trained the fitted runs; trains the check runs.
        plan: All runs.
        experiment: The experiment, with the settings of the fit.
        execution: The execution plan with the check runs.

    Returns:
        The outcome of the sweep; None on every process but process 0.

    Raises:
        ScalaxError: As `Executor.execute`.
        Stopped: A stop was requested; the same call continues.
    """
    context, results = executor.context, executor.results
    if not context.hosts.first:
        train_groups(executor, execution.checks)
        return None
    folder, metric = context.folder, experiment.fit.metric
    results.refresh()
    results.write_table()
    fit, notes = _fit(folder, experiment)
    transfers = context.family.transfers_rate(plan.fitted[0].spec.shape)
    tuning, more = fit_hyperparameters(folder, plan, settings=experiment.fit, transfers=transfers)
    notes = [*notes, *more]
    if fit is not None:
        family = f"{experiment.model.family} (mup)" if transfers else experiment.model.family
        fit = _add_training(fit, family, tuning)
        fit.save(folder / "fit.json")
    _write_forecasts(folder, fit, plan)
    train_groups(executor, execution.checks)
    checks = _add_measurements(folder, results, plan, metric)
    results.write_table()
    allocation, more = _allocate(fit, plan)
    outcome = Outcome(
        out=folder,
        runs=results.rows(),
        unit=plan.data.unit,
        metric=metric,
        fit=fit,
        check=checks,
        allocation=allocation,
        notes=[*notes, *more],
        tuning=tuning,
    )
    from scalax.report.page import write_report

    write_report(outcome)
    context.progress.finish(outcome)
    return outcome


def _fit(folder: Path, experiment: Experiment) -> tuple[Fit | None, list[str]]:
    """Returns the fitted law and notes; None and the reason if no law can be fitted."""
    try:
        fit = fit_table(rows_of(folder, experiment.fit), experiment.fit)
    except ScalaxError as error:  # the runs are still valid
        return None, [f"no law was fitted: {error}"]
    return fit, fit.notes


def _add_training(fit: Fit, family: str, tuning: Tuning | None) -> Fit:
    """Records in the settings how the runs were trained; see `scalax.predict.recommend`."""
    training: dict[str, Any] = {"family": family}
    if tuning is not None:
        laws = {"learning_rate": tuning.learning_rate, "batch_tokens": tuning.batch_tokens}
        training["hyperparameters"] = {
            **{name: asdict(tuned.law) for name, tuned in laws.items() if tuned is not None},
            "ranges": {name: list(ends) for name, ends in tuning.ranges.items()},
        }
    return replace(fit, settings={**fit.settings, **training})


def _write_forecasts(folder: Path, fit: Fit | None, plan: Plan) -> None:
    """Writes the forecasts to check.json before the check runs start; existing ones stay."""
    if not (folder / "check.json").is_file():
        _write_checks(folder, [_forecast(run, fit, plan) for run in plan.check_runs])


def _forecast(run: Run, fit: Fit | None, plan: Plan) -> ForecastCheck:
    """Returns the forecast for a check run."""
    params, tokens, flops = run.counts.params, run.spec.units, run.flops
    if fit is None:
        return ForecastCheck(params, tokens, flops, None, None, None)
    row = run.row(plan.data).to_dict()
    others = set(fit.form.columns) - {"params", "tokens", "flops"}
    columns = {name: row[name] for name in fit.form.columns if name in others and name in row}
    forecast = fit.predict(params=params, tokens=tokens, flops=flops, **columns)
    return ForecastCheck(params, tokens, flops, forecast.loss, forecast.low, forecast.high)


def _add_measurements(
    folder: Path, results: Results, plan: Plan, metric: str
) -> list[ForecastCheck]:
    """Adds the measurements of the check runs to check.json, and returns its records."""
    records = json.loads((folder / "check.json").read_text(encoding="utf-8"))
    checks = []
    for record, run in zip(records, plan.check_runs, strict=True):
        result = results.get(run.name)
        measured = result.metrics.get(metric) if result else None
        checks.append(replace(ForecastCheck.from_json(record), measured=measured))
    _write_checks(folder, checks)
    return checks


def _write_checks(folder: Path, checks: list[ForecastCheck]) -> None:
    write_json(folder / "check.json", [check.to_json() for check in checks])


def _allocate(fit: Fit | None, plan: Plan) -> tuple[Allocation | None, list[str]]:
    """Returns the best split of `BEYOND` times the largest run's FLOPs, or None and a note."""
    if fit is None:
        return None, []
    try:
        return fit.allocate(BEYOND * max(run.flops for run in plan.runs)), []
    except ScalaxError as error:  # a law of one variable has no split
        return None, [f"no allocation: {error}"]
