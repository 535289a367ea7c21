"""Measures whether runs of one shape train faster together than one after another.

A step of one run alone is timed, then one of growing ensembles, until a larger one is no faster.
All of it is thrown away: nothing here trains a run or decides for a sweep that goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from scalax.data.base import OpenDataset
from scalax.data.pipeline import train_batches
from scalax.distributed.hosts import Hosts
from scalax.sweep.execution_plan import Choice, Ensembles
from scalax.sweep.expand import Group
from scalax.train.program import Program
from scalax.train.schedule import schedule_values
from scalax.train.settings import TrainSpec

SECONDS = 0.2
TURNS = 3
"""Time that a speed is taken from, and how often: the best counts, others may be at work here."""
WORTH = 10
"""A trial is made where training apart takes this many times as long as compiling once."""
LEAST_GAIN = 1.05
"""An ensemble less than so many times as fast as its runs apart is not worth its memory."""


@dataclass(frozen=True)
class Trial:
    """What it takes to try.

    Attributes:
        asked: ``train.ensemble``.
        program: The program for a spec and a number of members; the executor's, so that what was
            compiled here serves the training.
        data: Where batches come from.
        hosts: The processes that train together; the first one's clock decides.
        say: Told each choice in a line.
    """

    asked: Ensembles
    program: Callable[[TrainSpec, int | None], Program]
    data: OpenDataset
    hosts: Hosts
    say: Callable[[str], None]

    def choose(self, groups: Sequence[Group]) -> Choice:
        """How many of some groups, alike but for seed and learning rate, train together."""
        spec = groups[0].runs[0].spec
        if self.asked == "never":
            return Choice(1, 'train.ensemble = "never"', {})
        if spec.mesh != "auto":
            return Choice(1, "train.mesh is given, and an ensemble has its own", {})
        if self.asked != "auto":
            return Choice(min(self.asked, len(groups)), f"train.ensemble = {self.asked}", {})
        choice = self._tried(spec, groups)
        self.say(f"{len(groups)} x {groups[0].name}: {choice.why}")
        return choice

    def _tried(self, spec: TrainSpec, groups: Sequence[Group]) -> Choice:
        per_step = groups[0].runs[0].flops / spec.steps
        steps = sum(run.flops_spent for group in groups for run in group.runs) / per_step
        compiling, seconds = self._time(spec, None)
        if steps * seconds < WORTH * compiling:
            why = f"{steps * seconds:.3g} s of training alone: too little to measure for"
            return Choice(1, why, {})
        speeds = {1: spec.units_per_step / seconds}
        for size in _sizes(len(groups), self.program(spec, len(groups))):
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
            return Choice(1, "each alone is as fast as any ensemble tried, measured", speeds)
        return Choice(best, f"{best} together are {gain:.2f}x as fast as each alone", speeds)

    def _time(self, spec: TrainSpec, members: int | None) -> tuple[float, float]:
        """Seconds of the first step, which compiles, and of each later one."""
        program = self.program(spec, members)
        step = _Stepper(program, spec, self.data)
        first = step.seconds(1)
        count = self.hosts.broadcast(max(2, round(SECONDS / max(step.seconds(2) / 2, 1e-6))))
        each = min(step.seconds(count) for _ in range(TURNS)) / count
        found: list[float] = self.hosts.broadcast([first, each])
        return found[0], found[1]


def _sizes(most: int, program: Program) -> list[int]:
    """Sizes to try: each device has as many members, twice as many from size to size."""
    across = program.mesh.devices.size
    sizes = [across * 2**k for k in range(most.bit_length())]
    return sorted({size for size in [*sizes, most] if 1 < size <= most})


class _Stepper:
    """Trains a fresh state on one batch again and again."""

    def __init__(self, program: Program, spec: TrainSpec, data: OpenDataset) -> None:
        batch, members = spec.recipe.batch, program.members
        read = next(
            train_batches(data.source("train"), batch=batch, seed=0, start=0, rows=program.rows)
        )
        schedule = schedule_values(spec)
        seeds: Any = spec.seed
        if members is not None:
            here = len(program.members_here)
            read = {name: np.stack([values] * here) for name, values in read.items()}
            schedule = {name: np.stack([value] * members) for name, value in schedule.items()}
            seeds = [spec.seed] * members
        self._program, self._batch, self._schedule = program, read, schedule
        self._state = program.init(seeds)

    def seconds(self, steps: int) -> float:
        """The time of some steps."""
        began = time.monotonic()
        for _ in range(steps):
            placed = self._program.place(self._batch)
            self._state, told = self._program.step(self._state, placed, self._schedule)
        jax.block_until_ready((self._state, told))
        return time.monotonic() - began
