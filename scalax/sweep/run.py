"""`run`: an experiment file from its first check to its report: checks it, trains, and ends it.

check the file -> hold the folder -> train -> `finish`
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scalax import registry
from scalax.data.base import OpenDataset
from scalax.data.open import open_dataset
from scalax.distributed.cluster import Cluster
from scalax.errors import ScalaxError, suggest
from scalax.files import as_path, flatten, write_text
from scalax.fit.estimate import FitSettings, demand_finite
from scalax.laws.base import Law
from scalax.models.base import ModelFamily
from scalax.runs.csv_writer import write_runs
from scalax.sweep.execution_plan import Schedule, read_or_make
from scalax.sweep.expand import Plan, expand, row
from scalax.sweep.experiment import Experiment, read_experiment
from scalax.sweep.finish import Outcome, finish, rows_so_far
from scalax.sweep.progress import Quiet, Reporter
from scalax.sweep.work_sharing import Alone, Sharing
from scalax.train.profile import Profile
from scalax.train.writers import check_writers

if TYPE_CHECKING:
    from scalax.distributed.hosts import Hosts
    from scalax.sweep.execute import Executor

HOW = tuple(
    f"train.{name}"
    for name in (
        "mesh",
        "recompute",
        "accumulate",
        "checkpoint_seconds",
        "keep_checkpoints",
        "hang_seconds",
        "writers",
    )
)
"""Settings of how a sweep is computed and kept, not of what: it may go on with others."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that was checked whole, and that nothing was done for yet.

    Attributes:
        experiment: As resolved.
        family: Its model family.
        data: Its dataset.
        plan: Its runs.
    """

    experiment: Experiment
    family: ModelFamily
    data: OpenDataset
    plan: Plan


def prepare(path: str | Path, overrides: Iterable[str] = ()) -> Prepared:
    """Checks a whole experiment: the file, the names in it, the data, every shape.

    Raises:
        ScalaxError: Whatever is wrong, before any work.
    """
    experiment = read_experiment(path, overrides)
    family: ModelFamily = registry.get("model", experiment.model.family)
    check_writers(experiment.train.writers)
    FitSettings(law=experiment.fit.law, weights=experiment.fit.weights, delta=experiment.fit.delta)
    name = experiment.data.dataset
    data = open_dataset(name, experiment.data.options)
    plan = expand(experiment, family, data.spec)
    _check_fit(experiment, family, plan)
    return Prepared(experiment, family, data, plan)


def _check_fit(experiment: Experiment, family: ModelFamily, plan: Plan) -> None:
    """Demands that what is to be fitted will be in the table, before it is trained for."""
    asked = experiment.fit
    if asked.metric not in family.metrics:
        raise ScalaxError(
            f"{family.name} does not measure {asked.metric!r}",
            where="fit.metric",
            fix=suggest(asked.metric, family.metrics),
        )
    if asked.law in ("auto", "posterior"):
        return
    law: Law = registry.get("law", asked.law)
    lacking = [name for name in law.columns if name not in row(plan.runs[0], plan.data)]
    if lacking:
        raise ScalaxError(
            f"law {law.name!r} reads {', '.join(lacking)}, which no run of a sweep measures",
            where="fit.law",
            fix="choose a law of params, tokens or flops",
        )
    planned = [row(run, plan.data) for run in plan.fitted]
    demand_finite(law, {n: np.asarray([r[n] for r in planned], float) for n in law.columns})


def run_experiment(
    path: str | Path,
    out: str | Path | None = None,
    overrides: Iterable[str] = (),
    *,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome | None:
    """Runs an experiment, or goes on with one.

    Args:
        path: The experiment file.
        out: Its folder; ``out/NAME`` by default.
        overrides: ``section.key=value`` each.
        reporter: Who is told how it goes.
        stop: Asked at each step whether to save and stop.

    Returns:
        What it came to; None on every process but the first of a job of several.

    Raises:
        ScalaxError: The experiment is wrong, or the folder holds another one.
        JobError: The disk is full.
        Stopped: ``stop`` said so; the same call goes on.
    """
    prepared = prepare(path, overrides)
    return run_prepared(prepared, out, reporter=reporter or Quiet(), stop=stop)


def run_prepared(
    prepared: Prepared,
    out: str | Path | None,
    *,
    reporter: Reporter,
    stop: Callable[[], bool],
    cluster: Cluster | None = None,
    profile: Profile | None = None,
    compile_cache: str | None = None,
    share_seconds: float | None = None,
) -> Outcome | None:
    """Runs what `prepare` gave; see `run_experiment`.

    Args:
        prepared: The experiment.
        out: Its folder.
        reporter: Who is told how it goes, on process 0.
        stop: Asked at each step whether to save and stop.
        cluster: The processes of this job, where the environment does not name them.
        profile: Steps to trace.
        compile_cache: Where compiled steps are kept, as `keep_compiled` takes it.
        share_seconds: Where other jobs take runs from the same folder: after how long without a
            sign of one the others take over its runs. None for a job that has it to itself.

    Raises:
        ScalaxError: As `run_experiment`; or no run has the steps to trace.
    """
    from scalax.devices import prepare as prepare_devices

    prepare_devices()
    from scalax.distributed.hosts import joined
    from scalax.train.compile_cache import keep_compiled
    from scalax.train.expected import check_devices

    profile = profile or Profile()
    profile.check(max(run.spec.steps for run in prepared.plan.runs))

    folder = as_path(out) if out is not None else Path("out") / prepared.experiment.name
    with joined(cluster) as hosts:
        keep_compiled(compile_cache)
        hosts.same("the experiment", _digest(prepared, folder))
        specs = [run.spec for run in prepared.plan.runs]
        parts = [spec.recipe.batch // spec.accumulate for spec in specs]
        hosts.each(lambda: check_devices(specs[0].mesh, parts))
        told = reporter if hosts.first else Quiet()
        if share_seconds is None:
            jobs = Alone(folder, hosts, told.note)
        else:
            jobs = Sharing(folder, hosts, told.note, share_seconds)
        with jobs:
            return _run_steps(prepared, folder, hosts, told, stop, profile, jobs)


def _run_steps(
    prepared: Prepared,
    folder: Path,
    hosts: Hosts,
    reporter: Reporter,
    stop: Callable[[], bool],
    profile: Profile,
    jobs: Alone,
) -> Outcome | None:
    """Trains on every process; fits, forecasts, compares and reports on process 0 alone."""
    from scalax.data.pipeline import load_ahead
    from scalax.sweep.execute import Executor
    from scalax.sweep.parallel import train_all

    load_ahead()
    experiment, plan = prepared.experiment, prepared.plan

    def asked() -> bool:
        jobs.check()
        return stop()

    executor = Executor(
        folder=folder,
        family=prepared.family,
        data=prepared.data,
        progress=reporter,
        stop=asked,
        checkpoint_seconds=experiment.train.checkpoint_seconds,
        keep_checkpoints=experiment.train.keep_checkpoints,
        ended=lambda: write_runs(folder / "runs.csv", rows_so_far(executor, plan)),
        writers=experiment.train.writers,
        profile=profile,
        hosts=hosts,
        hang_seconds=None
        if experiment.train.hang_seconds == "none"
        else experiment.train.hang_seconds,
    )
    with jobs.beginning(stop):
        hosts.on_first(lambda: _write_resolved(folder, experiment))
        hosts.sees(folder / "experiment.toml")
        reporter.start(plan)
        schedule = _schedule(experiment, plan, executor, reporter)
    train_all(executor, schedule.fitted, jobs.claim)
    with jobs.ending() as other:
        if other is None:
            return finish(executor, plan, experiment, schedule, reporter)
        reporter.note(f"the end is left to {other}: the fit, the check runs and the report")
        return None


def _schedule(
    experiment: Experiment, plan: Plan, executor: Executor, reporter: Reporter
) -> Schedule:
    """Which runs train together: as the folder says, or tried now and written there."""
    from scalax.sweep.autotune import Trial

    hosts = executor.hosts
    trial = Trial(experiment.train.ensemble, executor.program, executor.data, hosts, reporter.note)
    return read_or_make(executor.folder, plan, trial.choose, hosts)


def _digest(prepared: Prepared, folder: Path) -> str:
    """What every process of a job must have been given alike."""
    told = [prepared.experiment.to_toml(), prepared.data.spec.fingerprint, str(folder)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def _write_resolved(folder: Path, experiment: Experiment) -> None:
    """Writes experiment.toml; one that is there must say the same but for `HOW`."""
    file = folder / "experiment.toml"
    text = experiment.to_toml()
    if not file.is_file():
        write_text(file, text)
        return
    before = flatten(tomllib.loads(file.read_text(encoding="utf-8")))
    now = flatten(tomllib.loads(text))
    other = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    changed = [key for key in other if not key.startswith(HOW)]
    if changed:
        told = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise ScalaxError(
            f"holds an experiment with other settings: {told}",
            where=str(folder),
            fix="give another --out, or the settings it was started with",
        )
    if other:
        write_text(file, text)
