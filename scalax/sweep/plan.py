"""The runs of a sweep before they are trained: run, trunk, group and plan.

A run is one training. A trunk is the constant-rate part that several runs share. A group is a set
of runs that one program trains: the branches of one trunk, or a single run, or several of either
side by side as an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalax.laws.base import ComputeRule
from scalax.runs.schema import Role, RunRow
from scalax.shapes.base import Counts, DataSpec
from scalax.train.settings import TrainSpec


@dataclass(frozen=True)
class Trunk:
    """The constant-rate part that several runs share.

    Attributes:
        name: Name of its folder.
        spec: Settings of its training, up to the start of its last branch.
    """

    name: str
    spec: TrainSpec


@dataclass(frozen=True)
class Run:
    """One training of a sweep.

    Attributes:
        name: Name of its folder.
        role: ``fit`` or ``check``.
        spec: Settings of the training.
        counts: Exact parameter counts.
        flops: Training FLOPs of the run if it were trained alone, by the family's count.
        flops_spent: FLOPs that it adds to the sweep; less than ``flops`` on a shared trunk.
        target_params: Requested size.
        target_tokens: Requested tokens (or examples).
        trunk: The trunk that the run branches from, or None.
        axes: Settings that the sweep varies, by column name.
    """

    name: str
    role: Role
    spec: TrainSpec
    counts: Counts
    flops: float
    flops_spent: float
    target_params: float
    target_tokens: float
    trunk: Trunk | None
    axes: Mapping[str, Any]

    @property
    def trunk_name(self) -> str | None:
        """Name of the trunk, or None."""
        return self.trunk.name if self.trunk else None

    def row(self, data: DataSpec) -> RunRow:
        """Returns the run's row of runs.csv before the run is trained."""
        spec = self.spec
        return RunRow(
            name=self.name,
            role=self.role,
            status=None,
            params=self.counts.params,
            tokens=spec.units,
            flops=self.flops,
            loss=None,
            params_embedding=self.counts.params_embedding,
            params_active=self.counts.params_active,
            flops_6nd=float(ComputeRule().flops(self.counts.params, spec.units)),
            flops_spent=self.flops_spent,
            unique_tokens=min(spec.units, data.train_examples * data.units_per_example),
            trunk=self.trunk_name,
            seed=spec.seed,
            learning_rate=spec.recipe.learning_rate,
            batch_tokens=spec.units_per_step,
            steps=spec.steps,
            warmup_steps=spec.warmup_steps,
            schedule=spec.schedule,
            precision=spec.precision,
            target_params=self.target_params,
            target_tokens=self.target_tokens,
            axes=self.axes,
        )


@dataclass(frozen=True)
class Group:
    """Runs that one program trains.

    Attributes:
        members: For each member of the ensemble, its runs, tokens ascending: the branches of one
            trunk, or a single run. Members differ in seed and learning rate only. A group that is
            not an ensemble has one member.
        reason: Reason why these runs train together, in one line.
    """

    members: tuple[tuple[Run, ...], ...]
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of the group: the name of its first member."""
        return self.member_names[0]

    @property
    def member_names(self) -> list[str]:
        """For each member, the name of its trunk, or of its single run."""
        return [runs[0].trunk_name or runs[0].name for runs in self.members]

    @property
    def runs(self) -> list[Run]:
        """All runs, member after member."""
        return [run for runs in self.members for run in runs]

    @property
    def spec(self) -> TrainSpec:
        """Spec of the first run; all runs of the group share its compiled settings."""
        return self.members[0][0].spec

    @property
    def ensemble(self) -> int | None:
        """Number of members trained together; None for one."""
        return len(self.members) if len(self.members) > 1 else None

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole group."""
        return sum(run.flops_spent for run in self.runs)

    @property
    def trunks(self) -> list[Trunk]:
        """The trunk of each member; empty if the runs have none."""
        return [runs[0].trunk for runs in self.members if runs[0].trunk]

    @property
    def stages(self) -> list[tuple[Run, ...]]:
        """The runs that train at the same time, stage after stage: one run of each member."""
        return list(zip(*self.members, strict=True))


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment.

    Attributes:
        groups: The runs to fit; each group has one member.
        checks: The runs that test the forecast, one in each group.
        data: Description of the dataset.
        axes: Columns that ``[sweep.axes]`` varies.
    """

    groups: tuple[Group, ...]
    checks: tuple[Group, ...]
    data: DataSpec
    axes: tuple[str, ...]

    @property
    def fitted(self) -> list[Run]:
        """The runs to fit, in order."""
        return [run for group in self.groups for run in group.runs]

    @property
    def check_runs(self) -> list[Run]:
        """The runs that test the forecast, in order."""
        return [run for group in self.checks for run in group.runs]

    @property
    def runs(self) -> list[Run]:
        """All runs, in the order of the table."""
        return self.fitted + self.check_runs
