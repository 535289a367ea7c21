"""Trains one run, or an ensemble of runs that one program steps together, and scores it.

The device always has the next step before the last one's measures are fetched, and batches are
made ahead of it. What a run leaves is written by `records`, `measure` and `checkpoint`; nothing
here knows of sweeps, tables or laws.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scalax.data.base import Example, OpenDataset
from scalax.data.pipeline import Ahead, eval_batches, train_batches
from scalax.distributed.hosts import Hosts
from scalax.distributed.stopping import Diverged, Stopped
from scalax.distributed.watchdog import Watchdog
from scalax.files import write_json
from scalax.train.checkpoint import Checkpoints
from scalax.train.measure import Meter, summarise
from scalax.train.profile import Profile
from scalax.train.program import Program, TrainState
from scalax.train.records import Line, Metrics, Observer, Progress, Shown, Timing, close_all
from scalax.train.schedule import Schedule, schedule_values
from scalax.train.settings import TrainSpec
from scalax.train.writers import open_writer

IN_FLIGHT = 2
"""Steps given to the device and not yet done: enough that it never waits for this process."""

ASK_EVERY = 8
"""Steps after which several processes agree whether to save: asking each step would cost."""


@dataclass
class Member:
    """One run of a job.

    Attributes:
        spec: What to train.
        folder: The run's folder.
        over: Whether it has its result, for it diverged: it is stepped with the others, untold.
    """

    spec: TrainSpec
    folder: Path
    over: bool = False


@dataclass(frozen=True)
class Job:
    """What one program trains, and its surroundings: a run alone, or an ensemble.

    Attributes:
        members: The runs; of an ensemble they differ in seed and in the schedule's values alone.
        program: The compiled step for them.
        data: Where batches come from.
        folder: Where checkpoints lie: the run's folder, or one that the members share.
        progress: Who shows it.
        stop: Asked at each step whether to save and stop.
        diverged: Told of each member that diverged, and why, at once.
        checkpoint_seconds: Most seconds of work between checkpoints.
        keep: Steps whose checkpoints must stay: where branches start.
        latest: How many other checkpoints stay.
        writers: Who else is told: names of `scalax.train.writers`.
        profile: Which steps are traced.
        hosts: The processes that train it together; the first writes its files.
        hang_seconds: Least seconds of one step that are taken for a hang; None for never.
        meter: The clock of this session.
    """

    members: Sequence[Member]
    program: Program
    data: OpenDataset
    folder: Path
    progress: Progress
    stop: Callable[[], bool]
    diverged: Callable[[Member, str], None] = lambda member, why: None
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
        meter = Meter(spec.units_per_step, flops, spec.precision, devices, len(self.members))
        object.__setattr__(self, "meter", meter)

    @property
    def spec(self) -> TrainSpec:
        """What the members have alike: steps, batch, shape, when to tell and to score."""
        return self.members[0].spec

    @property
    def left(self) -> list[Member]:
        """The members that have no result yet."""
        return [member for member in self.members if not member.over]

    def leave(self, member: Member, why: str) -> None:
        """Counts a member out.

        Raises:
            Diverged: None is left.
        """
        member.over = True
        self.diverged(member, why)
        if not self.left:
            raise Diverged(why)

    def init(self) -> TrainState:
        """The state before the first step."""
        seeds = [member.spec.seed for member in self.members]
        return self.program.init(seeds[0] if self.program.members is None else seeds)

    def schedule(self) -> Schedule:
        """Values of the learning rate's schedule, [runs] each in an ensemble."""
        each = [schedule_values(member.spec) for member in self.members]
        if self.program.members is None:
            return each[0]
        return {name: np.stack([values[name] for values in each]) for name in each[0]}

    def open_checkpoints(self) -> Checkpoints:
        """The checkpoints of this job."""
        return Checkpoints(self.folder / "checkpoints", self.keep, self.latest, self.hosts)

    def open_observers(self, member: Member, done: int) -> list[Observer]:
        """Who is told how a run goes on from a step: nobody, on a process that writes nothing."""
        if not self.hosts.first or member.over:
            return []
        others = [open_writer(name, member.folder, done) for name in self.writers]
        return [Metrics(member.folder, done), Timing(member.folder), *others]

    def batches(self, done: int, until: int) -> Ahead[dict[str, jax.Array]]:
        """The batches of steps ``done`` to ``until``: this process's rows of each, being placed."""
        return Ahead(self._read(done), self.program.place, count=until - done)

    def _read(self, done: int) -> Iterator[Example]:
        """A batch for each step; [members, rows, ...] in an ensemble, read once a seed."""

        def of(seed: int) -> Iterator[Example]:
            batch, rows = self.spec.recipe.batch, self.program.rows
            return train_batches(source, batch=batch, seed=seed, start=done, rows=rows)

        source = self.data.source("train")
        if self.program.members is None:
            yield from of(self.spec.seed)
        seeds = [self.members[k].spec.seed for k in self.program.members_here]
        streams = {seed: of(seed) for seed in seeds}
        while True:
            read = {seed: next(stream) for seed, stream in streams.items()}
            yield {name: np.stack([read[seed][name] for seed in seeds]) for name in read[seeds[0]]}


def advance(job: Job, state: TrainState, until: int, checkpoints: Checkpoints) -> TrainState:
    """Trains up to a step and begins to write a checkpoint there.

    Args:
        job: What to train.
        state: Where it stands; consumed.
        until: Steps done at the end.
        checkpoints: Of this job.

    Raises:
        Diverged: The run did, or all of an ensemble's.
        Stopped: Asked to stop; the state is saved.
        ScalaxError: The disk is full, or a file cannot be written.
    """
    meter, schedule = job.meter, job.schedule()
    done = job.program.done(state)
    flight: deque[Any] = deque()
    watchdog = Watchdog(job.hang_seconds, job.members[0].folder, job.hosts, done)
    with (
        meter.running(),
        job.batches(done, until) as batches,
        _Teller(job, done) as teller,
        job.profile.watch(job.members[0].folder) as before_step,
        watchdog.watching(),
    ):
        saved = time.monotonic()
        while done < until:
            with meter.spent("input"):
                batch = next(batches)
            watchdog.entering_step()
            before_step(done, flight)
            state, told = job.program.step(state, batch, schedule)
            done += 1
            meter.step(done)
            teller.flush()
            if done % job.spec.log_every == 0 or done == until:
                teller.hold(done, told)
            flight.append(told)
            if len(flight) > IN_FLIGHT:
                jax.block_until_ready(flight.popleft())
            watchdog.step_done(done)
            if job.spec.eval_every and done % job.spec.eval_every == 0 and done < job.spec.steps:
                with watchdog.paused():
                    teller.score(done, evaluate(job, state))
            stop = job.hosts.stop_requested(job.stop()) and done < until
            if stop or done == until or _due(job, done, saved):
                teller.keep()  # a checkpoint never holds a step whose line could be lost
                saved = time.monotonic()
                with meter.spent("checkpoint"), watchdog.paused():
                    checkpoints.save(state, done, _about(job, done), wait=stop)
            if stop:
                raise Stopped
    return state


def evaluate(job: Job, state: TrainState) -> list[dict[str, float]]:
    """Held-out metrics over the fixed set: each a mean over its tokens (or examples).

    Returns:
        Those of each member, in order. One whose loss is not finite is counted out.

    Raises:
        Diverged: As `advance`.
    """
    sums: dict[str, Any] = {}
    total: Any = 0.0
    batch = job.spec.recipe.batch
    source = job.data.source("eval")
    rows, examples = job.program.rows, job.spec.eval_examples
    with job.meter.spent("evaluate"):
        for held_out in eval_batches(source, batch=batch, examples=examples, rows=rows):
            scored, weight = job.program.score(state, held_out)
            sums = {name: sums.get(name, 0.0) + value for name, value in scored.items()}
            total += weight
    means = [
        {name: float(value[k] / total[k]) for name, value in sums.items()}
        for k in range(len(job.members))
    ]
    for member, found in zip(job.members, means, strict=True):
        if not member.over and not math.isfinite(found["loss"]):
            job.leave(member, f"held-out loss {found['loss']}")
    return means


def conclude(job: Job, member: Member) -> None:
    """Writes what the session took as a run's last line of timing.jsonl, and performance.json."""
    if not job.hosts.first:
        return
    timing = Timing(member.folder)
    timing.append(job.meter.timing())
    timing.close()
    write_json(member.folder / "performance.json", summarise(timing.lines()))


def _due(job: Job, done: int, saved: float) -> bool:
    """Whether a checkpoint is; several processes follow the first one's clock."""
    here = time.monotonic() - saved > job.checkpoint_seconds
    if job.hosts.count == 1:
        return here
    return done % ASK_EVERY == 0 and bool(job.hosts.broadcast(here))


def _about(job: Job, done: int) -> dict[str, Any]:
    """What else a job goes on from; of an ensemble, a record a member."""
    each = [about(member, done) for member in job.members]
    return each[0] if job.program.members is None else {"members": each}


def about(member: Member, done: int) -> dict[str, Any]:
    """What else a run goes on from: the seed of all that is random, and where the input stands."""
    spec = member.spec
    first = done * spec.recipe.batch
    return {
        "random": {"seed": spec.seed},
        "input": {"seed": spec.seed, "next_example": first, "data": spec.data},
    }


class _Teller:
    """Holds a step's measures on the device until the next step is under way, then tells them."""

    def __init__(self, job: Job, done: int) -> None:
        self._job = job
        self._observers = [job.open_observers(member, done) for member in job.members]
        self._shown = Shown(job.progress, job.members[0].folder.name, len(job.members))
        self._limit = 2 * math.log(max(2, job.data.spec.classes))
        self._held: tuple[int, dict[str, Any]] | None = None

    def __enter__(self) -> _Teller:
        return self

    def __exit__(self, *_: object) -> None:
        for observers in self._observers:
            close_all(observers)

    def hold(self, step: int, told: dict[str, Any]) -> None:
        """Keeps a step's measures for `flush`."""
        self._held = step, told

    def score(self, step: int, metrics: list[dict[str, float]]) -> None:
        """Tells held-out metrics."""
        for member, observers, found in self._each(metrics):
            if not member.over:
                for observer in observers:
                    observer.score(step, step * self._job.spec.units_per_step, found)

    def keep(self) -> None:
        """Tells what is held, and has it kept; errors as `flush`."""
        self.flush()
        for observers in self._observers:
            for observer in observers:
                observer.keep()

    def flush(self) -> None:
        """Fetches and tells what is held.

        Raises:
            Diverged: The loss is no number, or too large, and no other member is left.
        """
        if self._held is None:
            return
        (step, told), self._held = self._held, None
        fetched = {name: np.atleast_1d(value) for name, value in jax.device_get(told).items()}
        each = [
            {name: float(values[k]) for name, values in fetched.items()}
            for k in range(len(self._job.members))
        ]
        units, timing = step * self._job.spec.units_per_step, self._job.meter.timing()
        told_now = [part for part in self._each(each) if not part[0].over]
        for _, observers, values in told_now:
            for observer in observers:
                observer.line(Line(step, units, values, timing))
        if self._job.hosts.first:
            self._shown.lines([Line(step, units, values, timing) for _, _, values in told_now])
        for member, _, values in told_now:
            if not values["loss"] < self._limit:  # also true of NaN
                self._job.leave(member, f"loss {values['loss']:g} at step {step}")

    def _each(self, found: list[dict[str, float]]) -> list[tuple[Member, list[Observer], Any]]:
        return list(zip(self._job.members, self._observers, found, strict=True))
