"""Compiled programs: shared by groups of one structure, made when needed, freed after the last."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import jax

from scalax.data.base import OpenDataset
from scalax.data.pipeline import train_batches
from scalax.runs.schema import RunResult
from scalax.sweep.plan import Group, Run
from scalax.sweep.programs import Programs
from scalax.sweep.progress import Quiet
from scalax.sweep.run import prepare, run_experiment
from scalax.train.program import Program
from scalax.train.schedule import schedule_values


def groups_of_two_sizes(experiment: Path) -> list[Group]:
    """Two groups of one size that differ in seed, and one of another size."""
    plan = prepare(experiment, ["train.schedule='constant'", "sweep.tokens=[4000]"]).plan
    small, large = plan.groups
    (run,) = small.runs
    other = replace(run, name="other", spec=replace(run.spec, seed=1))
    return [small, Group(((other,),)), large]


def train_one_step(program: Program, group: Group, data: OpenDataset) -> None:
    """Compiles the program's functions and runs them once."""
    source, batch = data.source("train"), group.spec.recipe.batch
    first = next(train_batches(source, batch=batch, seed=0, start=0, rows=program.rows))
    state, metrics = program.step(
        program.init(0), program.place(first), schedule_values(group.spec)
    )
    jax.block_until_ready((state, metrics))


def test_a_program_is_shared_until_the_last_group_has_ended(experiment: Path) -> None:
    first, second, large = groups_of_two_sizes(experiment)
    programs = Programs(prepare(experiment).family)
    programs.reserve([first, second, large])
    program = programs.get(first.spec, None)
    assert programs.get(second.spec, None) is program
    assert programs.get(large.spec, None) is not program
    programs.release(first)
    assert programs.get(second.spec, None) is program
    programs.release(second)
    assert programs.get(second.spec, None) is not program


def test_a_released_program_leaves_no_executable_behind(experiment: Path) -> None:
    first, second, _ = groups_of_two_sizes(experiment)
    prepared = prepare(experiment)
    client = jax.devices()[0].client
    counts = []
    for _ in range(2):
        programs = Programs(prepared.family)
        programs.reserve([first, second])
        program = programs.get(first.spec, None)
        train_one_step(program, first, prepared.data)
        compiled = len(client.live_executables())
        references = [weakref.ref(part) for part in (program, program._step, program._create)]
        del program
        programs.release(first)
        gc.collect()
        assert all(reference() is not None for reference in references)  # the second needs it
        programs.release(second)
        gc.collect()
        assert all(reference() is None for reference in references)
        counts.append(len(client.live_executables()))
        assert counts[-1] <= compiled - 2  # the step and the initial state
    assert counts[0] == counts[1]


def test_programs_that_no_group_needs_are_freed(experiment: Path) -> None:
    first, _, large = groups_of_two_sizes(experiment)
    programs = Programs(prepare(experiment).family)
    unneeded = weakref.ref(programs.get(large.spec, None))  # as measuring an ensemble leaves it
    needed = weakref.ref(programs.get(first.spec, None))
    programs.reserve([first])
    gc.collect()
    assert unneeded() is None
    assert needed() is not None


class ProgramCount(Quiet):
    """Counts the programs in memory at the end of each run."""

    def __init__(self) -> None:
        self.alive: list[int] = []

    def end(self, run: Run, result: RunResult) -> None:
        gc.collect()
        self.alive.append(sum(isinstance(thing, Program) for thing in gc.get_objects()))


def test_a_sweep_keeps_only_the_program_that_it_trains_with(
    experiment: Path, tmp_path: Path
) -> None:
    gc.collect()
    before = sum(isinstance(thing, Program) for thing in gc.get_objects())
    reporter = ProgramCount()
    file = tmp_path / "two-sizes.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    settings = ["sweep.tokens=[4000]", "fit.law='power-flops'", "fit.bootstrap=0"]
    run_experiment(file, tmp_path / "out", settings, reporter=reporter)
    assert [count - before for count in reporter.alive] == [1, 1]
