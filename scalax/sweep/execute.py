"""Trains the units of a schedule, and leaves each run's result in its folder.

What is done is never done again: a run with a result.json is passed over, one without goes on
from its last checkpoint. Nothing here fits or reports.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from scalax.data.base import OpenDataset
from scalax.distributed.hosts import Hosts
from scalax.distributed.stopping import Diverged
from scalax.files import remove_tree, write_json
from scalax.models.base import ModelFamily
from scalax.sweep.execution_plan import Unit
from scalax.sweep.expand import RunPlan
from scalax.train.checkpoint import Checkpoints
from scalax.train.loop import Job, Member, about, advance, conclude, evaluate
from scalax.train.mesh import ensemble_mesh, make_mesh
from scalax.train.place import usable_devices
from scalax.train.profile import Profile
from scalax.train.program import Program, TrainState
from scalax.train.records import write_spec
from scalax.train.settings import TrainSpec

_RESULT = "result.json"


class SweepProgress(Protocol):
    """Who is told how a sweep goes."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """A run, or a trunk, starts or goes on."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Some steps were done."""

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """A run ended."""


@dataclass(frozen=True)
class Executor:
    """Trains units of runs.

    Attributes:
        folder: The sweep's folder; runs lie in its ``runs``.
        family: The model family.
        data: The dataset.
        progress: Who is told.
        stop: Asked at each step whether to save and stop.
        checkpoint_seconds: Most seconds of work between checkpoints.
        keep_checkpoints: How many stay of each run: with two there is one to go back to.
        ended: Called when a run's result is on disk.
        writers: Who else is told: names of `scalax.train.writers`.
        profile: Which steps are traced.
        hosts: The processes that train each run together; only the first writes results.
        hang_seconds: Least seconds of one step that are taken for a hang; None for never.
        halt: Set where units that train at once must save and stop, for another of them failed.
    """

    folder: Path
    family: ModelFamily
    data: OpenDataset
    progress: SweepProgress
    stop: Callable[[], bool]
    checkpoint_seconds: float
    keep_checkpoints: int
    ended: Callable[[], None]
    writers: Sequence[str] = ()
    profile: Profile = field(default_factory=Profile)
    hosts: Hosts = field(default_factory=Hosts)
    hang_seconds: float | None = None
    halt: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _programs: dict[Any, Program] = field(default_factory=dict, init=False, repr=False)
    _telling: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def result(self, run: RunPlan) -> dict[str, Any] | None:
        """What a run measured, or None while it is not done."""
        return self._read(self._place(run.name))

    def finished(self, unit: Unit) -> bool:
        """Whether all runs of a unit have their results."""
        done = all(self.result(run) is not None for row in unit.rows for run in row)
        return bool(self.hosts.agree(done))

    def execute(self, unit: Unit, devices: list[Any] | None = None) -> None:
        """Trains the runs of a unit that are not done; several units may train at once.

        Args:
            unit: What to train.
            devices: Where, in this process alone; on all devices by default.

        Raises:
            Stopped: Asked to stop; all is saved.
            ScalaxError: A folder holds other settings, or the disk fails.
        """
        if self.finished(unit):
            return
        program = self.program(unit.spec, unit.members, devices)
        if not unit.trunks:
            for runs in unit.rows:
                job = self._job_of(runs, program)
                self._finish(runs, job, job.init)
        else:
            self._execute_branches(unit, program)

    def _execute_branches(self, unit: Unit, program: Program) -> None:
        specs = {group.name: spec for group, spec in zip(unit.groups, unit.trunks, strict=True)}
        starts = [runs[0].spec.decay_start for runs in unit.rows]
        trunk = self._job(specs, program, self._diverged_trunk, keep=starts)
        checkpoints = trunk.open_checkpoints()
        try:
            for runs in unit.rows:
                job = self._job_of(runs, program)
                if job.left:
                    self._finish(runs, job, partial(self._branch, trunk, job, checkpoints))
        finally:
            checkpoints.close()
            for member in trunk.members:
                conclude(trunk, member)
        self._clear(trunk)  # a trunk is no result: its branches are

    def program(
        self, spec: TrainSpec, members: int | None, devices: list[Any] | None = None
    ) -> Program:
        """The compiled step, shared by runs that differ in seed, schedule or learning rate alone:
        those are arguments of it.

        Args:
            spec: Of any of the runs.
            members: How many it trains together; None for one at a time.
            devices: Where; on all that are usable by default.
        """
        batch = spec.recipe.batch // spec.accumulate
        if members is None:
            mesh = make_mesh(spec.mesh, batch, devices or usable_devices(spec.mesh, batch))
        else:
            mesh = ensemble_mesh(members, devices or usable_devices("auto", members))
        recipe = replace(spec.recipe, learning_rate=1.0, warmup=0.0)
        how = spec.recompute, spec.accumulate, spec.skip_spikes
        key = spec.shape, recipe, spec.precision, mesh, how, members
        if key not in self._programs:
            self._programs[key] = Program(
                self.family,
                spec.shape,
                spec.recipe,
                spec.precision,
                mesh,
                recompute=spec.recompute,
                accumulate=spec.accumulate,
                skip_spikes=spec.skip_spikes,
                members=members,
            )
        return self._programs[key]

    def _branch(self, trunk: Job, job: Job, checkpoints: Checkpoints) -> TrainState:
        """The trunk's state where a run leaves it, trained on from its latest checkpoint."""
        self._follow(trunk, job)
        start = job.spec.decay_start
        state = checkpoints.restore(trunk.program.abstract(), at_most=start)
        state = trunk.init() if state is None else state
        with contextlib.suppress(Diverged):  # then no run can follow
            state = self._advance(trunk, state, start, checkpoints)
        self._follow(trunk, job)
        return state

    def _follow(self, trunk: Job, job: Job) -> None:
        """Counts out the runs whose trunk diverged.

        Raises:
            Diverged: None is left.
        """
        for stem, member in zip(trunk.members, job.members, strict=True):
            if stem.over and not member.over:
                job.leave(member, "its trunk diverged")

    def _finish(self, runs: Sequence[RunPlan], job: Job, start: Callable[[], TrainState]) -> None:
        """Trains the runs of a job to their end and writes their results."""
        checkpoints = job.open_checkpoints()
        metrics: list[dict[str, float]] = []
        try:
            state = checkpoints.restore(job.program.abstract())
            state = start() if state is None else state
            state = self._advance(job, state, job.spec.steps, checkpoints)
            with job.meter.running():
                metrics = evaluate(job, state)
                if job.program.members is not None:
                    with job.meter.spent("checkpoint"):
                        self._hand_out(job, state)
        except Diverged:
            return  # each has its result
        finally:
            with job.meter.running(), job.meter.spent("checkpoint"):
                checkpoints.close()
        for run, member, found in zip(runs, job.members, metrics, strict=True):
            if not member.over:
                self._end(run, job, member, {"status": "done", "metrics": found})
        if job.program.members is not None:
            self._clear(job)

    def _hand_out(self, job: Job, state: TrainState) -> None:
        """Writes each run of an ensemble its last checkpoint, where one trained alone has it."""
        opened = []
        for k, member in enumerate(job.members):
            if not member.over:
                folder = member.folder / "checkpoints"
                if self.hosts.agree(folder.is_dir()):
                    self.hosts.on_first(partial(remove_tree, folder))
                own = Checkpoints(folder, hosts=self.hosts)
                own.save(
                    job.program.member(state, k), job.spec.steps, about(member, job.spec.steps)
                )
                opened.append(own)
        for own in opened:
            own.close()

    def _end(self, run: RunPlan, job: Job, member: Member, result: dict[str, Any]) -> None:
        """Writes a run's result and tells it."""
        conclude(job, member)
        self._write(member, result)
        with self._telling:
            self.progress.end(run, result)
            if self.hosts.first:
                self.ended()

    def _diverged_trunk(self, job: Job, member: Member, why: str) -> None:
        self._write(member, {"status": "diverged", "why": why})

    def _write(self, member: Member, result: dict[str, Any]) -> None:
        """One process writes a result, for all of them."""
        self.hosts.on_first(lambda: write_json(member.folder / _RESULT, result))

    def _clear(self, job: Job) -> None:
        """Deletes checkpoints that nothing goes on from any more."""
        if self.hosts.first:
            shared = job.program.members is not None
            remove_tree(job.folder if shared else job.folder / "checkpoints")

    def _advance(
        self, job: Job, state: TrainState, until: int, checkpoints: Checkpoints
    ) -> TrainState:
        done = job.program.done(state)
        if done == until:
            return state
        per_step = self.family.flops_per_unit(job.spec.shape) * job.spec.units_per_step
        name, members = job.members[0].folder.name, len(job.members)
        with self._telling:
            self.progress.begin(name, done, until, per_step * members)
        return advance(job, state, until, checkpoints)

    def _job_of(self, runs: Sequence[RunPlan], program: Program) -> Job:
        by_folder = {self._place(run.name): run for run in runs}

        def diverged(job: Job, member: Member, why: str) -> None:
            result = {"status": "diverged", "why": why, "metrics": {}}
            self._end(by_folder[member.folder], job, member, result)

        return self._job({run.name: run.spec for run in runs}, program, diverged)

    def _job(
        self,
        specs: dict[str, TrainSpec],
        program: Program,
        diverged: Callable[[Job, Member, str], None],
        keep: Sequence[int] = (),
    ) -> Job:
        for name, spec in specs.items():
            record = {"name": name, **spec.to_json()}
            self.hosts.on_first(partial(write_spec, self._place(name), record))
        over = self.hosts.agree([self._read(self._place(name)) is not None for name in specs])
        members = [
            Member(spec, self._place(name), out)
            for (name, spec), out in zip(specs.items(), over, strict=True)
        ]
        first = members[0].folder
        job = Job(
            members=members,
            program=program,
            data=self.data,
            folder=first if program.members is None else self.folder / "ensembles" / first.name,
            progress=self.progress,
            stop=lambda: self.stop() or self.halt.is_set(),
            diverged=lambda member, why: diverged(job, member, why),
            checkpoint_seconds=self.checkpoint_seconds,
            keep=keep,
            latest=self.keep_checkpoints,
            writers=self.writers,
            profile=self.profile if self.hosts.first else Profile(),
            hosts=self.hosts,
            hang_seconds=self.hang_seconds,
        )
        return job

    def _place(self, name: str) -> Path:
        return self.folder / "runs" / name

    def _read(self, folder: Path) -> dict[str, Any] | None:
        file = folder / _RESULT
        if not file.is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
