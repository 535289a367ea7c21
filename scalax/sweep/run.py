"""Runs an experiment: checks the file, locks the folder, trains the runs and ends the sweep."""

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
from scalax.fit.estimate import require_finite
from scalax.laws.base import Law
from scalax.laws.resolve import resolve_law
from scalax.models.base import ModelFamily
from scalax.report.outcome import Outcome
from scalax.sweep.execution_plan import read_or_make
from scalax.sweep.expand import expand
from scalax.sweep.experiment import Experiment, read_experiment
from scalax.sweep.plan import Plan
from scalax.sweep.progress import Quiet, Reporter
from scalax.sweep.work_sharing import ExclusiveJob, WorkSharing
from scalax.train.profile import Profile
from scalax.train.writers import check_writers

if TYPE_CHECKING:
    from scalax.distributed.hosts import Hosts

RESUMABLE = tuple(
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
"""Settings that may change when a sweep is resumed: they do not affect its results."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that has been checked and can be run.

    Attributes:
        experiment: The experiment, with defaults filled in.
        family: Its model family.
        data: Its dataset.
        plan: Its runs.
    """

    experiment: Experiment
    family: ModelFamily
    data: OpenDataset
    plan: Plan


def prepare(path: str | Path, overrides: Iterable[str] = ()) -> Prepared:
    """Reads an experiment and checks all of it: names, settings, data and every shape.

    Args:
        path: The experiment file.
        overrides: Settings to change, each as ``section.key=value``.

    Raises:
        ScalaxError: Anything is wrong with the experiment.
    """
    experiment = read_experiment(path, overrides)
    family: ModelFamily = registry.get("model", experiment.model.family)
    check_writers(experiment.train.writers)
    name = experiment.data.dataset
    data = open_dataset(name, experiment.data.options)
    plan = expand(experiment, family, data.spec)
    _check_fit(experiment, family, plan)
    return Prepared(experiment, family, data, plan)


def _check_fit(experiment: Experiment, family: ModelFamily, plan: Plan) -> None:
    """Checks, before any training, that the table will have what the law reads."""
    section = experiment.fit
    if section.metric not in family.metrics:
        raise ScalaxError(
            f"{family.name} does not measure {section.metric!r}",
            where="fit.metric",
            fix=suggest(section.metric, family.metrics),
        )
    if section.law in ("auto", "posterior"):
        return
    law: Law = resolve_law(section.law)
    planned = [run.row(plan.data).to_dict() for run in plan.fitted]
    lacking = [name for name in law.columns if name not in planned[0]]
    if lacking:
        raise ScalaxError(
            f"law {law.name!r} reads {', '.join(lacking)}, which no run of a sweep measures",
            where="fit.law",
            fix="choose a law of params, tokens or flops",
        )
    require_finite(law, {n: np.asarray([r[n] for r in planned], float) for n in law.columns})


def run_experiment(
    path: str | Path,
    out: str | Path | None = None,
    overrides: Iterable[str] = (),
    *,
    reporter: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome | None:
    """Runs an experiment, or continues one that was stopped.

    Args:
        path: The experiment file.
        out: The sweep's folder; ``out/NAME`` by default.
        overrides: Settings to change, each as ``section.key=value``.
        reporter: Receives the progress; by default nothing is shown.
        stop: Returns whether to save and stop; called at each step.

    Returns:
        The outcome; None on all processes but process 0.

    Raises:
        ScalaxError: The experiment is wrong, or the folder holds another one.
        JobError: The disk is full.
        Stopped: ``stop`` returned True; the same call continues.
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
    """Runs an experiment that `prepare` has checked.

    Args:
        prepared: The experiment.
        out: The sweep's folder; ``out/NAME`` by default.
        reporter: Receives the progress, on process 0.
        stop: Returns whether to save and stop; called at each step.
        cluster: The processes of this job, if the environment does not name them.
        profile: Steps to trace.
        compile_cache: Folder of compiled steps; see `set_compile_cache`.
        share_seconds: Seconds after which a silent job's runs are taken over by the other jobs
            that share the folder. None for a job that has the folder to itself.

    Returns:
        As `run_experiment`; also None if another job ends the sweep.

    Raises:
        ScalaxError: As `run_experiment`; or no run has the steps to trace.
    """
    from scalax.devices import prepare as prepare_devices

    prepare_devices()
    from scalax.distributed.hosts import join_hosts
    from scalax.train.compile_cache import set_compile_cache
    from scalax.train.expected import check_devices

    profile = profile or Profile()
    profile.check(max(run.spec.steps for run in prepared.plan.runs))

    folder = as_path(out) if out is not None else Path("out") / prepared.experiment.name
    with join_hosts(cluster) as hosts:
        set_compile_cache(compile_cache)
        hosts.require_equal("the experiment", _digest(prepared, folder))
        specs = [run.spec for run in prepared.plan.runs]
        parts = [spec.recipe.batch // spec.accumulate for spec in specs]
        hosts.on_every(lambda: check_devices(specs[0].mesh, parts))
        reporter = reporter if hosts.first else Quiet()
        if share_seconds is None:
            job = ExclusiveJob(folder, hosts, reporter.note)
        else:
            job = WorkSharing(folder, hosts, reporter.note, share_seconds)
        with job:
            return _train_and_finish(prepared, folder, hosts, reporter, stop, profile, job)


def _train_and_finish(
    prepared: Prepared,
    folder: Path,
    hosts: Hosts,
    reporter: Reporter,
    stop: Callable[[], bool],
    profile: Profile,
    job: ExclusiveJob,
) -> Outcome | None:
    """Trains on every process; fits, forecasts, compares and reports on process 0."""
    from scalax.data.pipeline import import_reader
    from scalax.sweep.autotune import Autotuner
    from scalax.sweep.context import SweepContext
    from scalax.sweep.execute import Executor
    from scalax.sweep.finish import finish
    from scalax.sweep.parallel import train_groups
    from scalax.sweep.programs import Programs
    from scalax.sweep.results import Results

    import_reader()
    experiment, plan = prepared.experiment, prepared.plan

    def stop_requested() -> bool:
        job.check()
        return stop()

    context = SweepContext(
        folder=folder,
        family=prepared.family,
        data=prepared.data,
        train=experiment.train,
        progress=reporter,
        stop=stop_requested,
        profile=profile,
        hosts=hosts,
    )
    results = Results(folder, plan, hosts, shared=isinstance(job, WorkSharing))
    programs = Programs(prepared.family)
    executor = Executor(context, results, programs)
    with job.starting(stop):
        hosts.on_first(lambda: _write_resolved(folder, experiment))
        hosts.require_shared_file(folder / "experiment.toml")
        results.load()
        reporter.start(plan)
        autotuner = Autotuner(
            experiment.train.ensemble, programs, prepared.data, hosts, reporter.note
        )
        execution = read_or_make(folder, plan, autotuner.choose, hosts)
    train_groups(executor, execution.fitted, job.claim)
    with job.finishing() as other:
        if other is None:
            return finish(executor, plan, experiment, execution)
        reporter.note(f"{other} ends the sweep: the fit, the check runs and the report")
        return None


def _digest(prepared: Prepared, folder: Path) -> str:
    """Returns a digest of what must be the same on every process of a job."""
    values = [prepared.experiment.to_toml(), prepared.data.spec.fingerprint, str(folder)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def _write_resolved(folder: Path, experiment: Experiment) -> None:
    """Writes experiment.toml, or checks that an existing one differs in `RESUMABLE` only."""
    file = folder / "experiment.toml"
    text = experiment.to_toml()
    if not file.is_file():
        write_text(file, text)
        return
    # Read by today's schema, so that a key added since the folder was written has its default.
    before = flatten(tomllib.loads(read_experiment(file).to_toml()))
    now = flatten(tomllib.loads(text))
    other = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    changed = [key for key in other if not key.startswith(RESUMABLE)]
    if changed:
        changes = "; ".join(
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in changed
        )
        raise ScalaxError(
            f"holds an experiment with other settings: {changes}",
            where=str(folder),
            fix="give another --out, or the settings it was started with",
        )
    if other:
        write_text(file, text)
