"""The training loop: steps, checkpoints and evaluations of a job.

The device always has its next step before the metrics of the last one are fetched, and batches are
prefetched. Files are written by `records`, `metrics_reporter` and `checkpoint`. This module knows
nothing of sweeps, tables or laws.
"""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

import jax

from scalax.data.pipeline import eval_batches
from scalax.distributed.stopping import Stopped
from scalax.distributed.watchdog import Watchdog
from scalax.files import write_json
from scalax.train.checkpoint import Checkpoints
from scalax.train.job import Job, Member
from scalax.train.metrics_reporter import MetricsReporter
from scalax.train.performance import summarize
from scalax.train.records import TimingFile
from scalax.train.step import TrainState

IN_FLIGHT = 2
"""Steps in the device's queue: enough that it never waits for this process."""

AGREE_EVERY = 8
"""Steps between the decisions of several processes on a checkpoint; each decision costs time."""


def train(job: Job, state: TrainState, until: int, checkpoints: Checkpoints) -> TrainState:
    """Trains up to a step and starts to write a checkpoint there.

    Args:
        job: The job.
        state: Current state; its arrays are donated.
        until: Number of completed steps at which to end.
        checkpoints: Checkpoints of the job.

    Raises:
        Diverged: The run, or every run of an ensemble, diverged.
        Stopped: A stop was requested; the state is saved.
        ScalaxError: The disk is full, or a file is not writable.
    """
    spec, meter, hosts, schedule = job.spec, job.meter, job.hosts, job.schedule()
    done = job.program.done(state)
    queue: deque[Any] = deque()
    watchdog = Watchdog(job.hang_seconds, job.members[0].folder, hosts, done)
    with (
        meter.running(),
        job.batches(done, until) as batches,
        MetricsReporter(job, done) as reporter,
        job.profile.watch(job.members[0].folder) as before_step,
        watchdog.watching(),
    ):
        saved = time.monotonic()
        while done < until:
            with meter.spent("input"):
                batch = next(batches)
            watchdog.entering_step()
            before_step(done, queue)
            state, metrics = job.program.step(state, batch, schedule)
            done += 1
            meter.step(done)
            reporter.report()
            if done % spec.log_every == 0 or done == until:
                reporter.add(done, metrics)
            queue.append(metrics)
            if len(queue) > IN_FLIGHT:
                jax.block_until_ready(queue.popleft())
            watchdog.step_done(done)
            if spec.eval_every and done % spec.eval_every == 0 and done < spec.steps:
                with watchdog.paused():
                    reporter.report_eval(done, evaluate(job, state))
            stop = hosts.stop_requested(job.stop()) and done < until
            if stop or done == until or _checkpoint_due(job, done, saved):
                reporter.flush()  # the log on disk must not be behind the checkpoint
                saved = time.monotonic()
                with meter.spent("checkpoint"), watchdog.paused():
                    checkpoints.save(state, done, job.resume_info(done), wait=stop)
            if stop:
                raise Stopped
    return state


def evaluate(job: Job, state: TrainState) -> list[dict[str, float]]:
    """Returns the held-out metrics of each member, in order: means per token (or example).

    A member whose loss is not finite is marked as diverged.

    Raises:
        Diverged: As `train`.
    """
    sums: dict[str, Any] = {}
    total_weight: Any = 0.0
    source, rows = job.data.source("eval"), job.program.rows
    batch, examples = job.spec.recipe.batch, job.spec.eval_examples
    with job.meter.spent("evaluate"):
        for held_out in eval_batches(source, batch=batch, examples=examples, rows=rows):
            batch_sums, weight = job.program.score(state, held_out)
            sums = {name: sums.get(name, 0.0) + value for name, value in batch_sums.items()}
            total_weight += weight
    metrics = [
        {name: float(value[k] / total_weight[k]) for name, value in sums.items()}
        for k in range(len(job.members))
    ]
    for member, values in zip(job.members, metrics, strict=True):
        if not member.finished and not math.isfinite(values["loss"]):
            job.mark_diverged(member, f"held-out loss {values['loss']}")
    return metrics


def write_performance(job: Job, member: Member) -> None:
    """Writes a run's last line of timing.jsonl for this session, and performance.json."""
    if not job.hosts.first:
        return
    file = TimingFile(member.folder)
    file.append(job.meter.timing())
    file.close()
    write_json(member.folder / "performance.json", summarize(file.read()).to_json())


def _checkpoint_due(job: Job, done: int, saved: float) -> bool:
    """Returns whether to write a checkpoint now; several processes follow process 0's clock."""
    due = time.monotonic() - saved > job.checkpoint_seconds
    if job.hosts.count == 1:
        return due
    return done % AGREE_EVERY == 0 and bool(job.hosts.broadcast(due))
