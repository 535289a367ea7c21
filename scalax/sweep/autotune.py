"""Measures whether runs of one shape train faster together than one after another.

The autotuner times a step of a single run, then of growing ensembles, until a larger ensemble is
no faster. The trained states are discarded. A sweep that continues is never measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from scalax.data.base import OpenDataset
from scalax.data.pipeline import train_batches
from scalax.distributed.hosts import Hosts
from scalax.sweep.execution_plan import EnsembleSize
from scalax.sweep.plan import Group
from scalax.sweep.programs import Programs
from scalax.train.program import Program
from scalax.train.schedule import schedule_values
from scalax.train.settings import TrainSpec

SECONDS = 0.2
"""Seconds of training that one timing takes."""
REPEATS = 3
"""Timings of each ensemble size; the fastest counts, since other processes may be running."""
WORTHWHILE = 10
"""Measures only if training one by one takes at least this multiple of the compile time."""
LEAST_GAIN = 1.05
"""Smallest speed-up for which an ensemble is worth its memory."""


@dataclass(frozen=True)
class Autotuner:
    """Chooses how many runs train together.

    Attributes:
        requested: ``train.ensemble``.
        programs: Compiled programs; training reuses them.
        data: The dataset to read batches from.
        hosts: The processes that train together; the clock of process 0 decides.
        note: Receives each choice as a line of text.
    """

    requested: Literal["auto", "never"] | int
    programs: Programs
    data: OpenDataset
    hosts: Hosts
    note: Callable[[str], None]

    def choose(self, groups: Sequence[Group]) -> EnsembleSize:
        """Chooses how many groups train together; they differ in seed and learning rate only."""
        spec = groups[0].spec
        if self.requested == "never":
            return EnsembleSize(1, 'train.ensemble = "never"', {})
        if spec.mesh != "auto":
            return EnsembleSize(1, "train.mesh is set; an ensemble uses its own mesh", {})
        if self.requested != "auto":
            size = min(self.requested, len(groups))
            return EnsembleSize(size, f"train.ensemble = {self.requested}", {})
        choice = self._measure(spec, groups)
        self.note(f"{len(groups)} x {groups[0].name}: {choice.reason}")
        return choice

    def _measure(self, spec: TrainSpec, groups: Sequence[Group]) -> EnsembleSize:
        per_step = groups[0].runs[0].flops / spec.steps
        steps = sum(run.flops_spent for group in groups for run in group.runs) / per_step
        compile_seconds, seconds = self._time(spec, None)
        if steps * seconds < WORTHWHILE * compile_seconds:
            reason = f"one by one they train for {steps * seconds:.3g} s: too short to measure"
            return EnsembleSize(1, reason, {})
        speeds = {1: spec.units_per_step / seconds}
        devices = self.programs.get(spec, len(groups)).mesh.devices.size
        for size in _sizes(len(groups), devices):
            try:
                _, seconds = self._time(spec, size)
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                break
            speeds[size] = size * spec.units_per_step / seconds
            if speeds[size] < max(speeds.values()):
                break
        best = max(speeds, key=lambda size: speeds[size])
        gain = speeds[best] / speeds[1]
        if gain < LEAST_GAIN:
            return EnsembleSize(1, "one by one is as fast as any ensemble measured", speeds)
        return EnsembleSize(best, f"{best} together are {gain:.2f}x as fast as one by one", speeds)

    def _time(self, spec: TrainSpec, ensemble: int | None) -> tuple[float, float]:
        """Returns the seconds of the first step, which compiles, and of each later step."""
        steps = _Stepper(self.programs.get(spec, ensemble), spec, self.data)
        first = steps.seconds(1)
        count = self.hosts.broadcast(max(2, round(SECONDS / max(steps.seconds(2) / 2, 1e-6))))
        later = min(steps.seconds(count) for _ in range(REPEATS)) / count
        agreed: list[float] = self.hosts.broadcast([first, later])
        return agreed[0], agreed[1]


def _sizes(most: int, devices: int) -> list[int]:
    """Returns the ensemble sizes to try: 1, 2, 4, ... members per device, and ``most``."""
    sizes = [devices * 2**k for k in range(most.bit_length())]
    return sorted({size for size in [*sizes, most] if 1 < size <= most})


class _Stepper:
    """Trains a fresh state on the same batch in every step, for timing."""

    def __init__(self, program: Program, spec: TrainSpec, data: OpenDataset) -> None:
        rows, members = program.rows, program.members
        source = data.source("train")
        batch = next(train_batches(source, batch=spec.recipe.batch, seed=0, start=0, rows=rows))
        schedule = schedule_values(spec)
        seeds: Any = spec.seed
        if members is not None:
            local = len(program.members_here)
            batch = {name: np.stack([values] * local) for name, values in batch.items()}
            schedule = {name: np.stack([value] * members) for name, value in schedule.items()}
            seeds = [spec.seed] * members
        self._program, self._batch, self._schedule = program, batch, schedule
        self._state = program.init(seeds)

    def seconds(self, steps: int) -> float:
        """Runs some steps and returns their total seconds."""
        began = time.monotonic()
        for _ in range(steps):
            placed = self._program.place(self._batch)
            self._state, metrics = self._program.step(self._state, placed, self._schedule)
        jax.block_until_ready((self._state, metrics))
        return time.monotonic() - began
