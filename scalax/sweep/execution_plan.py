"""The execution plan of a sweep: which runs one program trains together.

It is decided once, before the first step, and stored in execution.json, so that a resumed sweep
uses the same plan. Results do not depend on it, except for rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scalax.distributed.hosts import Hosts
from scalax.files import write_json
from scalax.sweep.plan import Group, Plan
from scalax.train.settings import TrainSpec

FILE = "execution.json"


@dataclass(frozen=True)
class EnsembleSize:
    """How many similar groups to train together.

    Attributes:
        size: Members of each ensemble; 1 to train each group by itself.
        reason: Reason for the size, in one line.
        speeds: Measured tokens (or examples) per second, by the size of the ensembles.
    """

    size: int
    reason: str
    speeds: dict[int, float]


ChooseSize = Callable[[Sequence[Group]], EnsembleSize]


@dataclass(frozen=True)
class ExecutionPlan:
    """The groups of a sweep as they are trained.

    Attributes:
        fitted: Groups of the runs to fit, in the order of the plan.
        checks: Groups of the runs that test the forecast, one run in each.
    """

    fitted: tuple[Group, ...]
    checks: tuple[Group, ...]


def read_or_make(folder: Path, plan: Plan, choose: ChooseSize, hosts: Hosts) -> ExecutionPlan:
    """Returns the execution plan of a sweep; makes and writes it if the folder has none.

    Args:
        folder: The sweep's folder.
        plan: Its runs.
        choose: Chooses how many groups train together, out of groups that differ in seed and
            learning rate only; called on every process.
        hosts: The processes of the job; process 0 reads and writes the file.
    """
    file = folder / FILE
    record = hosts.on_first(lambda: json.loads(file.read_text("utf-8")) if file.is_file() else None)
    if record is None:
        record = _make(plan, choose)
        hosts.on_first(lambda: write_json(file, record))
    members = {group.name: group.members[0] for group in plan.groups}
    fitted = [
        Group(tuple(members[name] for name in unit["groups"]), unit["why"])
        for unit in record["units"]
    ]
    checks = [replace(group, reason="a check run") for group in plan.checks]
    return ExecutionPlan(tuple(fitted), tuple(checks))


def similar_groups(groups: Sequence[Group]) -> list[list[Group]]:
    """Returns the groups in sets that differ in seed and learning rate only, in plan order."""
    sets: dict[Hashable, list[Group]] = {}
    for group in groups:
        trunks = tuple(_structure(trunk.spec) for trunk in group.trunks)
        key = trunks, tuple(_structure(run.spec) for run in group.runs)
        sets.setdefault(key, []).append(group)
    return list(sets.values())


def _structure(spec: TrainSpec) -> str:
    """Returns all settings but the seed and the values of the learning rate schedule."""
    recipe = replace(spec.recipe, learning_rate=1.0, warmup=0.0)
    return repr(replace(spec, recipe=recipe, seed=0, warmup_steps=0))


def _make(plan: Plan, choose: ChooseSize) -> dict[str, Any]:
    """Returns the content of execution.json."""
    units, measured = [], []
    for groups in similar_groups(plan.groups):
        names = [group.name for group in groups]
        if len(groups) == 1:
            units.append({"groups": names, "why": "no other run has its shape"})
            continue
        choice = choose(groups)
        starts = range(0, len(names), choice.size)
        parts = [names[first : first + choice.size] for first in starts]
        units += [{"groups": part, "why": choice.reason} for part in parts]
        if choice.speeds:
            speeds = {str(size): speed for size, speed in choice.speeds.items()}
            measured.append({"groups": names, "units_per_second": speeds})
    return {"units": units, "measured": measured}
