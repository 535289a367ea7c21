"""Trains the groups of an execution plan and stores each run's result in its folder.

Finished work is never repeated: a run with a result is skipped, and one without continues from
its last checkpoint. Nothing here fits a law or writes a report.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scalax.distributed.stopping import Diverged
from scalax.files import remove_tree
from scalax.runs.schema import RunResult
from scalax.sweep.context import SweepContext
from scalax.sweep.plan import Group, Run
from scalax.sweep.programs import Programs
from scalax.sweep.results import Results
from scalax.train.checkpoint import Checkpoints
from scalax.train.job import Job, Member, resume_info
from scalax.train.loop import evaluate, train, write_performance
from scalax.train.profile import Profile
from scalax.train.program import Program
from scalax.train.records import write_spec
from scalax.train.settings import TrainSpec
from scalax.train.step import TrainState


@dataclass(frozen=True)
class Executor:
    """Trains groups of runs.

    Attributes:
        context: Settings and services that all runs share.
        results: Stores the results.
        programs: Compiled programs.
    """

    context: SweepContext
    results: Results
    programs: Programs
    _report_lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def finished(self, group: Group) -> bool:
        """Returns whether all runs of a group have results; the same on every process."""
        return bool(self.context.hosts.broadcast(self.results.has_all(group)))

    def execute(self, group: Group, devices: Sequence[Any] | None = None) -> None:
        """Trains the runs of a group that have no result; several groups may train at once.

        Args:
            group: The runs to train.
            devices: Devices of this process to use; all devices by default.

        Raises:
            Stopped: A stop was requested; everything is saved.
            ScalaxError: A run's folder has other settings, or the disk fails.
        """
        if self.finished(group):
            return
        program = self.programs.get(group.spec, group.ensemble, devices)
        if group.trunks:
            self._train_branches(group, program)
            return
        for runs in group.stages:
            job = self._run_job(runs, program)
            self._finish(runs, job, job.init)

    def _train_branches(self, group: Group, program: Program) -> None:
        """Trains each trunk up to a branch, then the branch, stage after stage."""
        specs = {trunk.name: trunk.spec for trunk in group.trunks}
        starts = [runs[0].spec.decay_start for runs in group.stages]
        trunk = self._job(specs, program, self._trunk_diverged, keep=starts)
        checkpoints = trunk.open_checkpoints()
        try:
            for runs in group.stages:
                job = self._run_job(runs, program)
                if job.active:
                    self._finish(runs, job, partial(self._branch_state, trunk, job, checkpoints))
        finally:
            checkpoints.close()
            for member in trunk.members:
                write_performance(trunk, member)
        self._remove_checkpoints(trunk)  # only the branches are results

    def _branch_state(self, trunk: Job, job: Job, checkpoints: Checkpoints) -> TrainState:
        """Returns the trunk's state at the branch, trained on from its latest checkpoint."""
        self._drop_diverged(trunk, job)
        start = job.spec.decay_start
        state = checkpoints.restore(trunk.program.abstract(), at_most=start)
        state = trunk.init() if state is None else state
        with contextlib.suppress(Diverged):  # `_drop_diverged` then raises for the branch
            state = self._advance(trunk, state, start, checkpoints)
        self._drop_diverged(trunk, job)
        return state

    def _drop_diverged(self, trunk: Job, job: Job) -> None:
        """Excludes the runs whose trunk diverged.

        Raises:
            Diverged: No run is left.
        """
        for stem, member in zip(trunk.members, job.members, strict=True):
            if stem.finished and not member.finished:
                job.mark_diverged(member, "its trunk diverged")

    def _finish(self, runs: Sequence[Run], job: Job, start: Callable[[], TrainState]) -> None:
        """Trains the runs of a job to their end and stores their results.

        Args:
            runs: The runs, one for each member of the job.
            job: The job that trains them.
            start: Returns the initial state; called if there is no checkpoint.
        """
        checkpoints = job.open_checkpoints()
        metrics: list[dict[str, float]] = []
        try:
            state = checkpoints.restore(job.program.abstract())
            state = start() if state is None else state
            state = self._advance(job, state, job.spec.steps, checkpoints)
            with job.meter.running():
                metrics = evaluate(job, state)
                if job.is_ensemble:
                    with job.meter.spent("checkpoint"):
                        self._save_members(job, state)
        except Diverged:
            return  # the result of each run is stored already
        finally:
            with job.meter.running(), job.meter.spent("checkpoint"):
                checkpoints.close()
        for run, member, values in zip(runs, job.members, metrics, strict=True):
            if not member.finished:
                self._end(run, job, member, RunResult("done", values))
        if job.is_ensemble:
            self._remove_checkpoints(job)

    def _save_members(self, job: Job, state: TrainState) -> None:
        """Saves the last checkpoint of each run of an ensemble in the folder of the run."""
        hosts, opened = self.context.hosts, []
        for k, member in enumerate(job.members):
            if not member.finished:
                folder = member.folder / "checkpoints"
                if hosts.broadcast(folder.is_dir()):
                    hosts.on_first(partial(remove_tree, folder))
                checkpoints = Checkpoints(folder, hosts=hosts)
                steps = job.spec.steps
                checkpoints.save(job.program.member(state, k), steps, resume_info(member, steps))
                opened.append(checkpoints)
        for checkpoints in opened:
            checkpoints.close()

    def _end(self, run: Run, job: Job, member: Member, result: RunResult) -> None:
        """Stores a run's result and reports it."""
        write_performance(job, member)
        self.results.store(run.name, result)
        with self._report_lock:
            self.context.progress.end(run, result)
            self.results.append_row(run)

    def _trunk_diverged(self, job: Job, member: Member, reason: str) -> None:
        self.results.store(member.folder.name, RunResult("diverged", reason=reason))

    def _remove_checkpoints(self, job: Job) -> None:
        """Removes checkpoints that no run continues from."""
        if self.context.hosts.first:
            shared = job.is_ensemble
            remove_tree(job.folder if shared else job.folder / "checkpoints")

    def _advance(
        self, job: Job, state: TrainState, until: int, checkpoints: Checkpoints
    ) -> TrainState:
        """Returns the state after ``until`` steps."""
        done = job.program.done(state)
        if done == until:
            return state
        per_step = self.context.family.flops_per_unit(job.spec.shape) * job.spec.units_per_step
        name, members = job.members[0].folder.name, len(job.members)
        with self._report_lock:
            self.context.progress.begin(name, done, until, per_step * members)
        return train(job, state, until, checkpoints)

    def _run_job(self, runs: Sequence[Run], program: Program) -> Job:
        by_name = {run.name: run for run in runs}

        def diverged(job: Job, member: Member, reason: str) -> None:
            result = RunResult("diverged", reason=reason)
            self._end(by_name[member.folder.name], job, member, result)

        return self._job({run.name: run.spec for run in runs}, program, diverged)

    def _job(
        self,
        specs: dict[str, TrainSpec],
        program: Program,
        diverged: Callable[[Job, Member, str], None],
        keep: Sequence[int] = (),
    ) -> Job:
        """Returns the job that trains runs or trunks, by name; writes or checks each spec.json."""
        context, hosts = self.context, self.context.hosts
        for name, spec in specs.items():
            record = {"name": name, **spec.to_json()}
            hosts.on_first(partial(write_spec, context.run_folder(name), record))
        finished = hosts.broadcast([self.results.get(name) is not None for name in specs])
        members = [
            Member(spec, context.run_folder(name), done)
            for (name, spec), done in zip(specs.items(), finished, strict=True)
        ]
        first, hang = members[0].folder, context.train.hang_seconds
        job = Job(
            members=members,
            program=program,
            data=context.data,
            folder=first if program.members is None else context.folder / "ensembles" / first.name,
            progress=context.progress,
            stop=context.stopping,
            on_diverged=lambda member, reason: diverged(job, member, reason),
            checkpoint_seconds=context.train.checkpoint_seconds,
            keep=keep,
            latest=context.train.keep_checkpoints,
            writers=context.train.writers,
            profile=context.profile if hosts.first else Profile(),
            hosts=hosts,
            hang_seconds=None if hang == "none" else hang,
        )
        return job
