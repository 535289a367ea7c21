"""Compiled programs: shared by groups of one structure, made when needed, freed after the last."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import jax

from scalax.data.base import OpenDataset
from scalax.data.pipeline import train_batches
from scalax.sweep.plan import Group
from scalax.sweep.programs import Programs
from scalax.sweep.run import prepare
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
