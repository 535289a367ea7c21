"""Trains one run, from wherever its folder left off to its last step, and scores it.

It owns a run's folder: spec.json, metrics.jsonl (a function of the spec alone), timing.jsonl
(the clock) and checkpoints. It knows nothing of sweeps, tables or laws.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from scalax.data.base import OpenDataset
from scalax.data.pipeline import eval_batches, train_batches
from scalax.errors import ScalaxError
from scalax.files import disk_error, flatten, write_json, write_text
from scalax.train.checkpoint import Checkpoints
from scalax.train.hosts import Hosts
from scalax.train.program import Program, TrainState
from scalax.train.schedule import schedule_values
from scalax.train.settings import TrainSpec
from scalax.train.stopping import Diverged, Stopped


class Progress(Protocol):
    """Who is told how a run goes."""

    def update(self, step: int, loss: float, units_per_second: float) -> None:
        """Called at each line of metrics."""


@dataclass(frozen=True)
class Job:
    """One run and its surroundings.

    Attributes:
        spec: What to train.
        program: The compiled step for it.
        data: Where batches come from.
        folder: The run's folder.
        progress: Who is told.
        stop: Asked at each step whether to save and stop.
        checkpoint_seconds: Most seconds of work between checkpoints.
        keep: Steps whose checkpoints must stay: where branches start.
        hosts: The processes that train it together.
    """

    spec: TrainSpec
    program: Program
    data: OpenDataset
    folder: Path
    progress: Progress
    stop: Callable[[], bool]
    checkpoint_seconds: float = 60.0
    keep: Iterable[int] = field(default_factory=tuple)
    hosts: Hosts = field(default_factory=Hosts)

    def open_checkpoints(self) -> Checkpoints:
        """The checkpoints of this run."""
        return Checkpoints(self.folder / "checkpoints", self.keep)


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    """Writes spec.json, or holds it against the one that is there.

    Raises:
        ScalaxError: The folder holds a run of other settings; names the first that differs.
    """
    file = folder / "spec.json"
    if not file.is_file():
        write_json(file, spec)
        return
    before = flatten(json.loads(file.read_text(encoding="utf-8")))
    now = flatten(json.loads(json.dumps(spec)))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ScalaxError(
                f"{key} was {before.get(key)!r} and is now {now.get(key)!r}",
                where=str(file),
                fix="give another --out, or the settings it was started with",
            )


def advance(job: Job, state: TrainState, until: int, checkpoints: Checkpoints) -> TrainState:
    """Trains up to a step and leaves a checkpoint there.

    Args:
        job: The run.
        state: Where it stands.
        until: Steps done at the end.
        checkpoints: Of this run.

    Raises:
        Diverged: As it says.
        Stopped: Asked to stop; the state is saved.
        ScalaxError: The disk is full, or a file cannot be written.
    """
    spec = job.spec
    done = int(state.step)
    schedule = schedule_values(spec)
    batches = train_batches(
        job.data.source("train"),
        batch=spec.recipe.batch,
        seed=spec.seed,
        start=done,
        rows=job.program.rows,
    )
    limit = 2 * math.log(max(2, job.data.spec.classes))
    if job.hosts.first:
        _truncate(job.folder / "metrics.jsonl", done)
    saved = began = time.monotonic()
    began_at = done
    try:
        with (
            _file(job, "metrics.jsonl").open("a", encoding="utf-8") as metrics,
            _file(job, "timing.jsonl").open("a", encoding="utf-8") as timing,
        ):
            while done < until:
                state, told = job.program.step(state, next(batches), schedule)
                done += 1
                if done % spec.log_every == 0 or done == until:
                    loss = float(told["loss"])
                    line: dict[str, float] = {"step": done, "tokens": done * spec.units_per_step}
                    line |= {name: float(value) for name, value in told.items()}
                    now = time.monotonic()
                    rate = (done - began_at) * spec.units_per_step / max(now - began, 1e-9)
                    _append(metrics, line)
                    _append(timing, {"step": done, "unix": time.time(), "units_per_second": rate})
                    job.progress.update(done, loss, rate)
                    if not loss < limit:  # also true of NaN
                        raise Diverged(f"loss {loss:g} at step {done}")
                    if job.hosts.agree(now - saved > job.checkpoint_seconds):
                        saved = now
                        checkpoints.save(state, done)
                if job.hosts.stop_asked(job.stop()) and done < until:
                    checkpoints.save(state, done, wait=True)
                    raise Stopped
    except OSError as error:
        raise disk_error(error, job.folder) from error
    checkpoints.save(state, done, wait=True)
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
    for examples in eval_batches(
        source, batch=batch, examples=job.spec.eval_examples, rows=job.program.rows
    ):
        found, weight = job.program.score(state, examples)
        sums = {name: sums.get(name, 0.0) + value for name, value in found.items()}
        total += weight
    means = {name: value / total for name, value in sums.items()}
    if not math.isfinite(means["loss"]):
        raise Diverged(f"held-out loss {means['loss']}")
    return means


def _file(job: Job, name: str) -> Path:
    """A file that process 0 writes; the others write the same into nothing."""
    return job.folder / name if job.hosts.first else Path(os.devnull)


def _truncate(file: Path, step: int) -> None:
    """Drops lines past a checkpoint: they will be written again, the same."""
    if not file.is_file():
        return
    kept, dropped = [], False
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            fine = json.loads(line)["step"] <= step
        except (ValueError, KeyError, TypeError):  # a line cut short by a kill
            fine = False
        kept += [line] if fine else []
        dropped |= not fine
    if dropped:
        write_text(file, "".join(line + "\n" for line in kept))


def _append(stream: Any, line: dict[str, Any]) -> None:
    values = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()
    }
    stream.write(json.dumps(values) + "\n")
    stream.flush()
