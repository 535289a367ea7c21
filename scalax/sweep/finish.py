"""Ends a sweep once its runs are trained: on process 0, but for the check runs.

fit -> forecast -> train the check runs -> compare -> allocate -> report
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalax.errors import ScalaxError
from scalax.files import write_json
from scalax.fit.estimate import fit_table, rows_of
from scalax.fit.hyperparameters import Tuning
from scalax.predict.answers import Allocation
from scalax.predict.fit_result import Fit
from scalax.report.outcome_text import compute_spent
from scalax.sweep.execution_plan import Schedule
from scalax.sweep.expand import Plan, RunPlan, row
from scalax.sweep.experiment import Experiment
from scalax.sweep.fit_hyperparameters import tune_sweep
from scalax.sweep.progress import Reporter

if TYPE_CHECKING:
    from scalax.sweep.execute import Executor

BEYOND = 10
"""The allocation reported is for this many times the compute of the largest run trained."""


@dataclass(frozen=True)
class Outcome:
    """What an experiment came to.

    Attributes:
        out: Its folder.
        rows: The runs table.
        fit: The law fitted; None where too few runs ended for one.
        check: Forecast against measurement, a record a check run.
        allocation: The split of ten times the compute of the largest run.
        notes: What the reader should know.
        tuning: The laws of learning rate and batch, where the sweep varied them.
    """

    out: Path
    rows: list[dict[str, Any]]
    fit: Fit | None
    check: list[dict[str, Any]]
    allocation: Allocation | None
    notes: list[str]
    tuning: Tuning | None = None

    def to_json(self) -> dict[str, Any]:
        """The outcome as `scalax run --json` prints it."""
        fit = None
        if self.fit:
            kept = self.fit.to_json()
            fit = {k: v for k, v in kept.items() if k not in ("samples", "residuals")}
        return {
            "out": str(self.out),
            "runs": self.rows,
            "compute": compute_spent(self.rows),
            "diverged": [r["name"] for r in self.rows if r["status"] == "diverged"],
            "fit": fit,
            "check": self.check,
            "allocation": self.allocation.to_json() if self.allocation else None,
            "hyperparameters": self.tuning.to_json() if self.tuning else None,
            "notes": self.notes,
        }


def finish(
    executor: Executor,
    plan: Plan,
    experiment: Experiment,
    schedule: Schedule,
    reporter: Reporter,
) -> Outcome | None:
    """Fits, forecasts, trains the check runs, compares and reports.

    Args:
        executor: Trained the other runs, and trains these.
        plan: All runs.
        experiment: Says what to fit.
        schedule: Who executes the check runs.
        reporter: Told how it goes.

    Returns:
        What the sweep came to; None on every process but the first.

    Raises:
        ScalaxError: As `Executor.execute`.
        Stopped: Asked to stop; the same call goes on.
    """
    from scalax.sweep.parallel import train_all

    folder, hosts = executor.folder, executor.hosts
    fit: Fit | None = None
    tuning: Tuning | None = None
    notes: list[str] = []
    check: list[dict[str, Any]] = []
    if hosts.first:
        executor.ended()  # a kill may have come between a result and its row
        fit, notes = _fit(folder, experiment)
        transfers = executor.family.transfers_rate(plan.fitted[0].spec.shape)
        tuning, told = tune_sweep(folder, plan, settings=experiment.fit, transfers=transfers)
        notes = [*notes, *told]
        check = _forecast(folder, fit, plan)
    train_all(executor, schedule.checks)
    if hosts.first:
        check = _measured(folder, executor, plan, experiment.fit.metric)
    if not hosts.first:
        return None
    executor.ended()
    allocation, more = _allocate(fit, plan)
    rows = rows_so_far(executor, plan)
    outcome = Outcome(folder, rows, fit, check, allocation, [*notes, *more], tuning)
    from scalax.report.page import write_report

    write_report(outcome.out, outcome.to_json(), fit, plan.data.unit, experiment.fit.metric)
    reporter.finish(outcome.to_json())
    return outcome


def rows_so_far(executor: Executor, plan: Plan) -> list[dict[str, Any]]:
    """The table so far: a row for each run that ended, in the order of the plan."""
    rows = []
    for run in plan.runs:
        result = executor.result(run)
        if result is not None:
            rows.append(row(run, plan.data) | {"status": result["status"]} | result["metrics"])
    return rows


def _fit(folder: Path, experiment: Experiment) -> tuple[Fit | None, list[str]]:
    try:
        fit = fit_table(rows_of(folder, experiment.fit), experiment.fit)
    except ScalaxError as error:  # the runs stand; only the law could not be had from them
        return None, [f"no law was fitted: {error}"]
    fit.save(folder / "fit.json")
    return fit, fit.notes


def _forecast(folder: Path, fit: Fit | None, plan: Plan) -> list[dict[str, Any]]:
    """Writes the forecasts before the check runs start; a forecast once made is kept."""
    file = folder / "check.json"
    if not file.is_file():
        runs = [run for group in plan.checks for run in group.runs]
        write_json(file, [_record(run, fit, plan) for run in runs])
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _record(run: RunPlan, fit: Fit | None, plan: Plan) -> dict[str, Any]:
    point = {"params": run.counts.params, "tokens": run.spec.units, "flops": run.flops}
    forecast = None
    if fit:
        planned = row(run, plan.data)
        others = {n: planned[n] for n in fit.form.columns if n in planned and n not in point}
        forecast = fit.predict(**point, **others)
    return point | {
        "predicted": forecast.loss if forecast else None,
        "low": forecast.low if forecast else None,
        "high": forecast.high if forecast else None,
        "measured": None,
    }


def _measured(folder: Path, executor: Executor, plan: Plan, metric: str) -> list[dict[str, Any]]:
    file = folder / "check.json"
    records: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    runs = [run for group in plan.checks for run in group.runs]
    for record, run in zip(records, runs, strict=True):
        result = executor.result(run)
        record["measured"] = result["metrics"].get(metric) if result else None
    write_json(file, records)
    return records


def _allocate(fit: Fit | None, plan: Plan) -> tuple[Allocation | None, list[str]]:
    """The split, or why there is none."""
    if fit is None:
        return None, []
    try:
        return fit.allocate(BEYOND * max(run.flops for run in plan.runs)), []
    except ScalaxError as error:  # a law of one variable, say, splits nothing
        return None, [f"no allocation: {error}"]
