"""Trains one run, from wherever its folder left off to its last step, and scores it.

The device always has the next step before the last one's measures are fetched, and batches are
made ahead of it. What a run leaves is written by `records`, `measure` and `checkpoint`; nothing
here knows of sweeps, tables or laws.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from scalax.data.base import OpenDataset
from scalax.data.pipeline import Ahead, eval_batches, train_batches
from scalax.files import write_json
from scalax.train.checkpoint import Checkpoints
from scalax.train.hosts import Hosts
from scalax.train.measure import Meter, summarise
from scalax.train.profile import Profile
from scalax.train.program import Program, TrainState
from scalax.train.records import Line, Metrics, Observer, Progress, Shown, Timing, close_all
from scalax.train.schedule import schedule_values
from scalax.train.settings import TrainSpec
from scalax.train.stopping import Diverged, Stopped
from scalax.train.watchdog import Watchdog
from scalax.train.writers import open_writer

IN_FLIGHT = 2
"""Steps given to the device and not yet done: enough that it never waits for this process."""

ASK_EVERY = 8
"""Steps after which several processes agree whether to save: asking each step would cost."""


@dataclass(frozen=True)
class Job:
    """One run and its surroundings.

    Attributes:
        spec: What to train.
        program: The compiled step for it.
        data: Where batches come from.
        folder: The run's folder.
        progress: Who shows it.
        stop: Asked at each step whether to save and stop.
        checkpoint_seconds: Most seconds of work between checkpoints.
        keep: Steps whose checkpoints must stay: where branches start.
        latest: How many other checkpoints stay.
        writers: Who else is told: names of `scalax.train.writers`.
        profile: Which steps are traced.
        hosts: The processes that train it together; the first writes its files.
        hang_seconds: Least seconds of one step that are taken for a hang; None for never.
        meter: The clock of this session.
    """

    spec: TrainSpec
    program: Program
    data: OpenDataset
    folder: Path
    progress: Progress
    stop: Callable[[], bool]
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
        meter = Meter(spec.units_per_step, flops, spec.precision, devices)
        object.__setattr__(self, "meter", meter)

    def open_checkpoints(self) -> Checkpoints:
        """The checkpoints of this run."""
        return Checkpoints(self.folder / "checkpoints", self.keep, self.latest, self.hosts)

    def open_observers(self, done: int) -> list[Observer]:
        """Who is told how the run goes on from a step: nobody, on a process that writes nothing."""
        if not self.hosts.first:
            return []
        others = [open_writer(name, self.folder, done) for name in self.writers]
        return [Metrics(self.folder, done), Timing(self.folder), Shown(self.progress), *others]

    def batches(self, done: int, until: int) -> Ahead[dict[str, jax.Array]]:
        """The batches of steps ``done`` to ``until``: this process's rows of each, being placed."""
        source = self.data.source("train")
        batch, seed = self.spec.recipe.batch, self.spec.seed
        rows = self.program.rows
        read = train_batches(source, batch=batch, seed=seed, start=done, rows=rows)
        return Ahead(read, self.program.place, count=until - done)


def advance(job: Job, state: TrainState, until: int, checkpoints: Checkpoints) -> TrainState:
    """Trains up to a step and begins to write a checkpoint there.

    Args:
        job: The run.
        state: Where it stands; consumed.
        until: Steps done at the end.
        checkpoints: Of this run.

    Raises:
        Diverged: As it says.
        Stopped: Asked to stop; the state is saved.
        ScalaxError: The disk is full, or a file cannot be written.
    """
    meter, schedule = job.meter, schedule_values(job.spec)
    done = int(state.step)
    flight: deque[Any] = deque()
    watchdog = Watchdog(job.hang_seconds, job.folder, job.hosts)
    with (
        meter.running(),
        job.batches(done, until) as batches,
        _Teller(job, done) as teller,
        job.profile.watch(job.folder) as before_step,
        watchdog.watching(),
    ):
        saved = time.monotonic()
        while done < until:
            with meter.spent("input"):
                batch = next(batches)
            watchdog.reached(done, entered=True)
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
            watchdog.reached(done)
            if job.spec.eval_every and done % job.spec.eval_every == 0 and done < job.spec.steps:
                with watchdog.resting():
                    teller.score(done, evaluate(job, state))
            stop = job.hosts.stop_asked(job.stop()) and done < until
            if stop or done == until or _due(job, done, saved):
                teller.keep()  # a checkpoint never holds a step whose line could be lost
                saved = time.monotonic()
                with meter.spent("checkpoint"), watchdog.resting():
                    checkpoints.save(state, done, _about(job, done), wait=stop)
            if stop:
                raise Stopped
    return state


def evaluate(job: Job, state: TrainState) -> dict[str, float]:
    """Held-out metrics over the fixed set: each a mean over its tokens (or examples).

    Raises:
        Diverged: The loss is not finite.
    """
    sums: dict[str, float] = {}
    total = 0.0
    batch = job.spec.recipe.batch
    source = job.data.source("eval")
    rows, examples = job.program.rows, job.spec.eval_examples
    with job.meter.spent("evaluate"):
        for held_out in eval_batches(source, batch=batch, examples=examples, rows=rows):
            found, weight = job.program.score(state, held_out)
            sums = {name: sums.get(name, 0.0) + value for name, value in found.items()}
            total += weight
    means = {name: value / total for name, value in sums.items()}
    if not math.isfinite(means["loss"]):
        raise Diverged(f"held-out loss {means['loss']}")
    return means


def conclude(job: Job) -> None:
    """Writes what the session took as its last line of timing.jsonl, and performance.json anew."""
    if not job.hosts.first:
        return
    timing = Timing(job.folder)
    timing.append(job.meter.timing())
    timing.close()
    write_json(job.folder / "performance.json", summarise(timing.lines()))


def _due(job: Job, done: int, saved: float) -> bool:
    """Whether a checkpoint is; several processes follow the first one's clock."""
    here = time.monotonic() - saved > job.checkpoint_seconds
    if job.hosts.count == 1:
        return here
    return done % ASK_EVERY == 0 and bool(job.hosts.agree(here))


def _about(job: Job, done: int) -> dict[str, Any]:
    """What else a run goes on from: the seed of all that is random, and where the input stands."""
    first = done * job.spec.recipe.batch
    return {
        "random": {"seed": job.spec.seed},
        "input": {"seed": job.spec.seed, "next_example": first, "data": job.spec.data},
    }


class _Teller:
    """Holds a step's measures on the device until the next step is under way, then tells them."""

    def __init__(self, job: Job, done: int) -> None:
        self._job = job
        self._observers = job.open_observers(done)
        self._limit = 2 * math.log(max(2, job.data.spec.classes))
        self._held: tuple[int, dict[str, Any]] | None = None

    def __enter__(self) -> _Teller:
        return self

    def __exit__(self, *_: object) -> None:
        close_all(self._observers)

    def hold(self, step: int, told: dict[str, Any]) -> None:
        """Keeps a step's measures for `flush`."""
        self._held = step, told

    def score(self, step: int, metrics: dict[str, float]) -> None:
        """Tells held-out metrics."""
        for observer in self._observers:
            observer.score(step, step * self._job.spec.units_per_step, metrics)

    def keep(self) -> None:
        """Tells what is held, and has it kept; errors as `flush`."""
        self.flush()
        for observer in self._observers:
            observer.keep()

    def flush(self) -> None:
        """Fetches and tells what is held.

        Raises:
            Diverged: The loss is no number, or too large.
        """
        if self._held is None:
            return
        (step, told), self._held = self._held, None
        values = {name: float(value) for name, value in jax.device_get(told).items()}
        units = step * self._job.spec.units_per_step
        line = Line(step, units, values, self._job.meter.timing())
        for observer in self._observers:
            observer.line(line)
        if not values["loss"] < self._limit:  # also true of NaN
            raise Diverged(f"loss {values['loss']:g} at step {step}")
