"""Who executes what: which groups of a plan one program trains together.

Decided once, before the first step, and kept in the sweep's execution.json: a sweep that goes on
does so as it began. What a run measures does not depend on it, beyond rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from scalax.distributed.hosts import Hosts
from scalax.files import write_json
from scalax.sweep.expand import Group, Plan, RunPlan
from scalax.train.settings import TrainSpec

FILE = "execution.json"

Ensembles = Literal["auto", "never"] | int


@dataclass(frozen=True)
class Choice:
    """How many groups of a set train together, and why.

    Attributes:
        size: Groups in each ensemble; 1 for each alone.
        why: In a sentence.
        measured: Tokens (or examples) per second of the devices by the size of the ensembles.
    """

    size: int
    why: str
    measured: dict[int, float]


@dataclass(frozen=True)
class Unit:
    """What is trained at a time: an ensemble of groups, or one group alone.

    Attributes:
        groups: Alike but for seed and learning rate.
        why: Why these, in a sentence.
    """

    groups: tuple[Group, ...]
    why: str

    @property
    def name(self) -> str:
        """The first group's."""
        return self.groups[0].name

    @property
    def spec(self) -> TrainSpec:
        """A spec with all that the runs have alike."""
        return self.groups[0].runs[0].spec

    @property
    def members(self) -> int | None:
        """Runs trained together; None for one alone."""
        return len(self.groups) if len(self.groups) > 1 else None

    @property
    def flops(self) -> float:
        """What training it takes."""
        return sum(run.flops_spent for group in self.groups for run in group.runs)

    @property
    def trunks(self) -> list[TrainSpec]:
        """What the trunks train; none without."""
        return [group.trunk for group in self.groups if group.trunk is not None]

    @property
    def rows(self) -> list[tuple[RunPlan, ...]]:
        """The runs trained together, row after row: a run of each group."""
        return list(zip(*(group.runs for group in self.groups), strict=True))


@dataclass(frozen=True)
class Schedule:
    """All units of a plan.

    Attributes:
        fitted: Those of the runs to fit, in the order of the plan.
        checks: Those of the check runs, each alone.
    """

    fitted: tuple[Unit, ...]
    checks: tuple[Unit, ...]


def read_or_make(
    folder: Path, plan: Plan, choose: Callable[[Sequence[Group]], Choice], hosts: Hosts
) -> Schedule:
    """The sweep's schedule, made and written where there is none.

    Args:
        folder: The sweep's.
        plan: Its runs.
        choose: How many of some groups, alike but for seed and learning rate, train together;
            called on every process.
        hosts: The processes of the job; the first one reads and writes.
    """
    file = folder / FILE
    kept = hosts.on_first(lambda: json.loads(file.read_text("utf-8")) if file.is_file() else None)
    if kept is None:
        kept = _made(plan, choose)
        hosts.on_first(lambda: write_json(file, kept))
    named = {group.name: group for group in plan.groups}
    fitted = tuple(
        Unit(tuple(named[name] for name in unit["groups"]), unit["why"]) for unit in kept["units"]
    )
    return Schedule(fitted, tuple(Unit((group,), "a check run") for group in plan.checks))


def alike(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups in sets that differ in seed and learning rate alone, in the order of the plan."""
    sets: dict[Any, list[Group]] = {}
    for group in groups:
        trunk = None if group.trunk is None else _structure(group.trunk)
        key = trunk, tuple(_structure(run.spec) for run in group.runs)
        sets.setdefault(key, []).append(group)
    return list(sets.values())


def _structure(spec: TrainSpec) -> str:
    """What one program compiles in: all but the seed and the values of the schedule."""
    recipe = replace(spec.recipe, learning_rate=1.0, warmup=0.0)
    return repr(replace(spec, recipe=recipe, seed=0, warmup_steps=0))


def _made(plan: Plan, choose: Callable[[Sequence[Group]], Choice]) -> dict[str, Any]:
    units, measured = [], []
    for groups in alike(plan.groups):
        if len(groups) == 1:
            units.append({"groups": [groups[0].name], "why": "no other run has its shape"})
            continue
        choice = choose(groups)
        for first in range(0, len(groups), choice.size):
            some = groups[first : first + choice.size]
            units.append({"groups": [group.name for group in some], "why": choice.why})
        if choice.measured:
            speeds = {str(size): speed for size, speed in choice.measured.items()}
            measured.append({"groups": [g.name for g in groups], "units_per_second": speeds})
    return {"units": units, "measured": measured}
