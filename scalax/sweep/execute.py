"""Trains the runs of a plan, group by group, and leaves each one's result in its folder.

What is done is never done again: a run with a result.json is passed over, one without goes on
from its last checkpoint. Nothing here fits or reports.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from scalax.data.base import OpenDataset
from scalax.files import remove_tree, write_json
from scalax.models.base import ModelFamily
from scalax.sweep.expand import Group, RunPlan
from scalax.train.checkpoint import Checkpoints
from scalax.train.hosts import Hosts
from scalax.train.loop import Job, advance, conclude, evaluate
from scalax.train.mesh import make_mesh
from scalax.train.place import usable_devices
from scalax.train.profile import Profile
from scalax.train.program import Program, TrainState
from scalax.train.records import write_spec
from scalax.train.settings import TrainSpec
from scalax.train.stopping import Diverged

_RESULT = "result.json"


class SweepProgress(Protocol):
    """Who is told how a sweep goes."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """A run, or a trunk, starts or goes on."""

    def update(self, step: int, loss: float, units_per_second: float) -> None:
        """Some steps were done."""

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """A run ended."""


@dataclass(frozen=True)
class Executor:
    """Trains groups of runs.

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
    _programs: dict[Any, Program] = field(default_factory=dict, init=False, repr=False)

    def result(self, run: RunPlan) -> dict[str, Any] | None:
        """What a run measured, or None while it is not done."""
        return self._read(self._place(run.name))

    def execute(self, group: Group) -> None:
        """Trains the runs of a group that are not done.

        Raises:
            Stopped: Asked to stop; all is saved.
            ScalaxError: A folder holds other settings, or the disk fails.
        """
        done = self.hosts.agree([self.result(run) is not None for run in group.runs])
        if all(done):
            return
        first = group.runs[0].spec
        program = self._program(first)
        if group.trunk is None:
            for run in group.runs:
                job = self._job(run.name, run.spec, program)
                self._finish(run, job, partial(program.init, first.seed))
            return
        trunk = self._job(
            group.name, group.trunk, program, keep=[run.spec.decay_start for run in group.runs]
        )
        checkpoints = trunk.open_checkpoints()
        try:
            for run, ended in zip(group.runs, done, strict=True):
                if not ended:
                    job = self._job(run.name, run.spec, program)
                    self._finish(run, job, partial(self._branch, trunk, run, checkpoints))
        finally:
            checkpoints.close()
            conclude(trunk)
        if self.hosts.first:
            remove_tree(trunk.folder / "checkpoints")  # a trunk is no result: its branches are

    def _program(self, spec: TrainSpec) -> Program:
        """The compiled step, shared by runs that differ in seed, schedule or learning rate alone:
        those are arguments of it."""
        batch = spec.recipe.batch // spec.accumulate
        mesh = make_mesh(spec.mesh, batch, usable_devices(spec.mesh, batch))
        recipe = replace(spec.recipe, learning_rate=1.0, warmup=0.0)
        how = spec.recompute, spec.accumulate, spec.skip_spikes
        key = spec.shape, recipe, spec.precision, mesh, how
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
            )
        return self._programs[key]

    def _branch(self, trunk: Job, run: RunPlan, checkpoints: Checkpoints) -> TrainState:
        """The trunk's state where a run leaves it, trained on from its latest checkpoint."""
        if self.hosts.agree(self._read(trunk.folder) is not None):
            raise Diverged("its trunk diverged")
        start = run.spec.decay_start
        state = checkpoints.restore(trunk.program.abstract(), at_most=start)
        state = trunk.program.init(trunk.spec.seed) if state is None else state
        try:
            return self._advance(trunk, state, start, checkpoints)
        except Diverged as why:
            self._write(trunk, {"status": "diverged", "why": str(why)})
            raise

    def _finish(self, run: RunPlan, job: Job, start: Callable[[], TrainState]) -> None:
        """Trains a run to its end and writes its result."""
        checkpoints = job.open_checkpoints()
        result: dict[str, Any]
        try:
            state = checkpoints.restore(job.program.abstract())
            state = start() if state is None else state
            state = self._advance(job, state, run.spec.steps, checkpoints)
            with job.meter.running():
                result = {"status": "done", "metrics": evaluate(job, state)}
        except Diverged as why:
            result = {"status": "diverged", "why": str(why), "metrics": {}}
        finally:
            with job.meter.running(), job.meter.spent("checkpoint"):
                checkpoints.close()
            conclude(job)
        self._write(job, result)
        self.progress.end(run, result)
        if self.hosts.first:
            self.ended()

    def _write(self, job: Job, result: dict[str, Any]) -> None:
        """One process writes a result, for all of them."""
        self.hosts.on_first(lambda: write_json(job.folder / _RESULT, result))

    def _advance(
        self, job: Job, state: TrainState, until: int, checkpoints: Checkpoints
    ) -> TrainState:
        done = int(state.step)
        if done == until:
            return state
        per_step = self.family.flops_per_unit(job.spec.shape) * job.spec.units_per_step
        self.progress.begin(job.folder.name, done, until, per_step)
        return advance(job, state, until, checkpoints)

    def _job(
        self, name: str, spec: TrainSpec, program: Program, keep: list[int] | None = None
    ) -> Job:
        folder = self._place(name)
        self.hosts.on_first(lambda: write_spec(folder, {"name": name, **spec.to_json()}))
        return Job(
            spec=spec,
            program=program,
            data=self.data,
            folder=folder,
            progress=self.progress,
            stop=self.stop,
            checkpoint_seconds=self.checkpoint_seconds,
            keep=keep or (),
            latest=self.keep_checkpoints,
            writers=self.writers,
            profile=self.profile if self.hosts.first else Profile(),
            hosts=self.hosts,
            hang_seconds=self.hang_seconds,
        )

    def _place(self, name: str) -> Path:
        return self.folder / "runs" / name

    def _read(self, folder: Path) -> dict[str, Any] | None:
        file = folder / _RESULT
        if not file.is_file():
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
