"""A training job: one run, or an ensemble of runs that one program trains, and its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scalax.data.base import Example, OpenDataset
from scalax.data.pipeline import Prefetcher, train_batches
from scalax.distributed.hosts import Hosts
from scalax.distributed.stopping import Diverged
from scalax.train.checkpoint import Checkpoints
from scalax.train.meter import Meter
from scalax.train.profile import Profile
from scalax.train.program import Program
from scalax.train.records import Logger, MetricsFiles, Progress, TimingFile
from scalax.train.schedule import Schedule, schedule_values
from scalax.train.settings import TrainSpec
from scalax.train.step import TrainState
from scalax.train.writers import open_writer


@dataclass
class Member:
    """One run of a job.

    Attributes:
        spec: Settings of the run.
        folder: Folder of the run.
        finished: Whether the run has its result already. A run of an ensemble that diverged is
        still
            computed with the others, but no longer logged.
    """

    spec: TrainSpec
    folder: Path
    finished: bool = False


@dataclass
class Job:
    """What one program trains: a run, or an ensemble of runs.

    Attributes:
        members: The runs. Those of an ensemble differ only in seed and in values of the schedule.
        program: The compiled program that trains them.
        data: The dataset.
        folder: Folder of the checkpoints: the run's folder, or one that the members share.
        progress: Displays the progress.
        stop: Called at each step; returns True to save and stop.
        on_diverged: Called with each run that diverges, and the reason.
        checkpoint_seconds: Longest time between checkpoints, seconds.
        keep: Steps whose checkpoints are kept, because branches start there.
        latest: Number of other checkpoints to keep.
        writers: Names of `scalax.train.writers`.
        profile: The steps to trace.
        hosts: The processes that train the job together. Process 0 writes the files.
        hang_seconds: Shortest step that may count as a hang, seconds; None turns the watchdog off.
        meter: The clock of this session.
    """

    members: Sequence[Member]
    program: Program
    data: OpenDataset
    folder: Path
    progress: Progress
    stop: Callable[[], bool]
    on_diverged: Callable[[Member, str], None] = lambda member, reason: None
    checkpoint_seconds: float = 60.0
    keep: Iterable[int] = field(default_factory=tuple)
    latest: int = 2
    writers: Sequence[str] = ()
    profile: Profile = field(default_factory=Profile)
    hosts: Hosts = field(default_factory=Hosts)
    hang_seconds: float | None = None
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        spec, devices = self.spec, list(self.program.mesh.devices.flat)
        flops = self.program.family.flops_per_unit(spec.shape) * spec.units_per_step
        self.meter = Meter(spec.units_per_step, flops, spec.precision, devices, len(self.members))

    @property
    def spec(self) -> TrainSpec:
        """The settings that all members share: steps, batch, shape, logging and evaluation."""
        return self.members[0].spec

    @property
    def is_ensemble(self) -> bool:
        """Whether the program trains its runs with a leading axis of runs."""
        return self.program.members is not None

    @property
    def active(self) -> list[Member]:
        """The members that have no result yet."""
        return [member for member in self.members if not member.finished]

    def mark_diverged(self, member: Member, reason: str) -> None:
        """Excludes a member from the rest of the training.

        Raises:
            Diverged: No member is left.
        """
        member.finished = True
        self.on_diverged(member, reason)
        if not self.active:
            raise Diverged(reason)

    def init(self) -> TrainState:
        """Returns the state before the first step."""
        seeds = [member.spec.seed for member in self.members]
        return self.program.init(seeds if self.is_ensemble else seeds[0])

    def schedule(self) -> Schedule:
        """Returns the values of the learning rate schedule: scalars, or ``[runs]``."""
        values = [schedule_values(member.spec) for member in self.members]
        if not self.is_ensemble:
            return values[0]
        return {name: np.stack([value[name] for value in values]) for name in values[0]}

    def open_checkpoints(self) -> Checkpoints:
        """Opens the checkpoints of this job."""
        return Checkpoints(self.folder / "checkpoints", self.keep, self.latest, self.hosts)

    def open_loggers(self, member: Member, done: int) -> list[Logger]:
        """Opens the loggers of a run after ``done`` steps; none if this process writes no files."""
        if not self.hosts.first or member.finished:
            return []
        writers = [open_writer(name, member.folder, done) for name in self.writers]
        return [MetricsFiles(member.folder, done), TimingFile(member.folder), *writers]

    def resume_info(self, done: int) -> dict[str, Any]:
        """Returns the JSON values of checkpoint.json: those of a run, or of each member."""
        records = [resume_info(member, done) for member in self.members]
        return {"members": records} if self.is_ensemble else records[0]

    def batches(self, done: int, until: int) -> Prefetcher[dict[str, jax.Array]]:
        """Returns the batches of steps ``done`` to ``until``, prefetched to the devices."""
        return Prefetcher(self._read(done), self.program.place, count=until - done)

    def _read(self, done: int) -> Iterator[Example]:
        """Yields this process's rows of each batch: [rows, ...], or [members, rows, ...]."""
        source = self.data.source("train")

        def read_seed(seed: int) -> Iterator[Example]:
            batch, rows = self.spec.recipe.batch, self.program.rows
            return train_batches(source, batch=batch, seed=seed, start=done, rows=rows)

        if not self.is_ensemble:
            yield from read_seed(self.spec.seed)
        seeds = [self.members[k].spec.seed for k in self.program.members_here]
        streams = {seed: read_seed(seed) for seed in seeds}  # members may share a seed
        while True:
            batches = {seed: next(stream) for seed, stream in streams.items()}
            names = batches[seeds[0]]
            yield {name: np.stack([batches[seed][name] for seed in seeds]) for name in names}


def resume_info(member: Member, done: int) -> dict[str, Any]:
    """Returns the seed of a run and its position in the data after ``done`` steps, as JSON."""
    spec = member.spec
    position = {"seed": spec.seed, "next_example": done * spec.recipe.batch, "data": spec.data}
    return {"random": {"seed": spec.seed}, "input": position}
