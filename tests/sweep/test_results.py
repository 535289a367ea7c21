"""Results of a sweep: read once, appended at a constant cost, and repaired after a kill."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scalax.runs.csv_writer import write_runs
from scalax.runs.schema import COLUMNS, RunResult
from scalax.sweep.context import SweepContext
from scalax.sweep.execute import Executor
from scalax.sweep.parallel import train_groups
from scalax.sweep.plan import Group, Plan
from scalax.sweep.programs import Programs
from scalax.sweep.progress import Quiet
from scalax.sweep.results import Results
from scalax.sweep.run import Prepared, prepare

OPENED: list[str] = []
WATCHED: list[str] = []


def count_opened(event: str, args: tuple[Any, ...]) -> None:
    """Records each file of the watched folder that this process opens, lists or renames."""
    if WATCHED and event in ("open", "os.rename", "os.listdir", "os.scandir", "os.remove"):
        OPENED.extend(str(arg) for arg in args[:1] if str(arg).startswith(WATCHED[0]))


sys.addaudithook(count_opened)


@contextmanager
def opened_in(folder: Path) -> Iterator[list[str]]:
    """Watches a folder, and gives the files that this process touches there."""
    OPENED.clear()
    WATCHED.append(str(folder))
    try:
        yield OPENED
    finally:
        WATCHED.clear()


@pytest.fixture(scope="module")
def prepared(experiment: Path) -> Prepared:
    sweep = 'sweep={kind="list", runs=[{params=9e3, tokens=4e3}]}'
    return prepare(experiment, [sweep, "train.schedule='constant'", "train.mesh={data=1}"])


def copies(prepared: Prepared, count: int) -> Plan:
    """Returns a plan of many runs that differ in name and seed."""
    (run,) = prepared.plan.fitted
    runs = [replace(run, name=f"run-{k}", spec=replace(run.spec, seed=k)) for k in range(count)]
    return replace(prepared.plan, groups=tuple(Group(((run,),)) for run in runs), checks=())


class InstantExecutor(Executor):
    """An executor that ends each run at once."""

    def execute(self, group: Group, devices: Sequence[Any] | None = None) -> None:
        for run in group.runs:
            self.results.store(run.name, RunResult("done", {"loss": 3.0 + run.spec.seed}))
            self.results.append_row(run)


def train(prepared: Prepared, plan: Plan, folder: Path) -> int:
    """Trains all runs, two at a time; returns the number of files opened."""
    results = Results(folder, plan)
    settings = prepared.experiment.train
    context = SweepContext(folder, prepared.family, prepared.data, settings, Quiet(), lambda: False)
    executor = InstantExecutor(context, results, Programs(prepared.family))
    with opened_in(folder) as opened:
        results.load()
        train_groups(executor, plan.groups)
        return len(opened)


def test_the_end_of_a_run_costs_as_many_files_in_a_large_sweep(
    prepared: Prepared, tmp_path: Path
) -> None:
    counts = {n: train(prepared, copies(prepared, n), tmp_path / str(n)) for n in (10, 20, 2000)}
    each = (counts[20] - counts[10]) / 10
    assert each > 0
    assert (counts[2000] - counts[10]) / 1990 == each
    assert len((tmp_path / "2000" / "runs.csv").read_text().splitlines()) == 2001


def test_results_are_read_once_at_the_start(prepared: Prepared, tmp_path: Path) -> None:
    plan = copies(prepared, 20)
    train(prepared, plan, tmp_path)
    results = Results(tmp_path, plan)
    with opened_in(tmp_path) as opened:
        results.load()
        read = [name for name in opened if name.endswith("result.json")]
        assert len(read) == len(set(read)) == 20
        opened.clear()
        assert all(results.has_all(group) for group in plan.groups)
        assert len(results.rows()) == 20
        assert opened == []


def test_rows_come_in_the_order_of_the_plan_and_survive_a_torn_line(
    prepared: Prepared, tmp_path: Path
) -> None:
    plan = copies(prepared, 6)
    results = Results(tmp_path, plan)
    for run in reversed(plan.runs):
        results.store(run.name, RunResult("done", {"loss": 1.0, "accuracy": run.spec.seed / 10}))
        results.append_row(run)
    table = tmp_path / "runs.csv"
    appended = table.read_text()
    assert appended.splitlines()[1].startswith("run-5,")
    table.write_text(appended[:-7])  # as a kill in the middle of a write leaves it
    again = Results(tmp_path, plan)
    again.load()
    lines = table.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [run.name for run in plan.runs]
    assert sorted(lines) == sorted(appended.splitlines())
    assert lines[0] == ",".join([*COLUMNS, "accuracy"])


def test_a_new_column_is_added_to_all_rows(prepared: Prepared, tmp_path: Path) -> None:
    plan = copies(prepared, 3)
    first, second, third = plan.runs
    results = Results(tmp_path, plan)
    for run, result in (
        (first, RunResult("diverged", reason="loss nan at step 3")),
        (second, RunResult("done", {"loss": 2.0, "accuracy": 0.5})),
        (third, RunResult("done", {"loss": 1.0, "accuracy": 0.75})),
    ):
        results.store(run.name, result)
        results.append_row(run)
    expected = tmp_path / "expected.csv"
    write_runs(expected, [row.to_dict() for row in results.rows()])
    assert (tmp_path / "runs.csv").read_bytes() == expected.read_bytes()
    assert Results(tmp_path, plan).get(first.name) is None
    again = Results(tmp_path, plan)
    again.load()
    assert again.get(first.name) == RunResult("diverged", {}, "loss nan at step 3")


def test_two_jobs_append_to_one_table(prepared: Prepared, tmp_path: Path) -> None:
    plan = copies(prepared, 4)
    jobs = [Results(tmp_path, plan, shared=True) for _ in range(2)]
    for k, run in enumerate(plan.runs):
        job = jobs[k % 2]
        if k < 2:
            job.load()
        job.store(run.name, RunResult("done", {"loss": 2.0}))
        job.append_row(run)
    names = [line.split(",")[0] for line in (tmp_path / "runs.csv").read_text().splitlines()]
    assert names == ["name", *(run.name for run in plan.runs)]
    assert all(jobs[0].has_all(group) for group in plan.groups)


def test_a_job_that_takes_over_knows_that_the_trunk_diverged(
    experiment: Path, tmp_path: Path
) -> None:
    plan = prepare(experiment).plan
    group = plan.groups[0]
    (trunk,) = group.trunks
    dead, heir = (Results(tmp_path, plan, shared=True) for _ in range(2))
    heir.load()
    dead.store(trunk.name, RunResult("diverged", reason="loss nan at step 3"))
    assert not heir.has_all(group)
    assert heir.get(trunk.name) == RunResult("diverged", {}, "loss nan at step 3")
