"""The columns of runs.csv: names, order and units, and how a run's result becomes a row.

The writer of the table and its readers both take the columns from here. No file is read or
written in this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Role = Literal["fit", "check"]
Status = Literal["done", "diverged"]

NUMERIC = ("params", "tokens", "flops", "loss")
"""The numeric columns that every runs table has."""


@dataclass(frozen=True)
class RunResult:
    """The result of a run that ended, as result.json stores it.

    Attributes:
        status: ``done`` or ``diverged``.
        metrics: Held-out metrics by name, means over tokens (or examples); empty for a diverged
            run.
        reason: Why the run diverged.
    """

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the content of result.json."""
        reason = {} if self.reason is None else {"why": self.reason}
        return {"status": self.status, **reason, "metrics": dict(self.metrics)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunResult:
        """Reads what `to_json` returned."""
        return cls(values["status"], values.get("metrics", {}), values.get("why"))


@dataclass(frozen=True)
class RunRow:
    """One row of runs.csv. The fields are the columns, in the order of the file.

    The columns of `axes` follow the fields, then the metrics other than ``loss``. No column
    depends on the clock.

    Attributes:
        name: Name of the run and of its folder.
        role: ``fit`` for a run to fit, ``check`` for one that tests the forecast.
        status: ``done`` or ``diverged``; None before the run ends.
        params: Parameters of the model, all of them.
        tokens: Training tokens (or examples) seen.
        flops: Training FLOPs of the run if trained separately, by the family's exact count.
        loss: Held-out loss in nats per token (or the dataset's own unit); None without a result.
        params_embedding: Parameters of token embeddings, and of a head tied to them.
        params_active: Parameters that one token uses.
        flops_6nd: 6 x params x tokens.
        flops_spent: FLOPs that the run adds to the sweep; less than ``flops`` on a shared trunk.
        unique_tokens: Distinct training tokens (or examples) seen.
        trunk: Name of the trunk that the run branches from, or None.
        seed: Seed of the initial parameters and of the data order.
        learning_rate: Peak learning rate.
        batch_tokens: Tokens (or examples) in a batch.
        steps: Optimiser steps.
        warmup_steps: Steps of linear warm-up.
        schedule: Form of the learning rate schedule.
        precision: Precision of the computation, ``f32`` or ``bf16``.
        target_params: Parameters that the experiment requests.
        target_tokens: Tokens (or examples) that the experiment requests.
        axes: Settings that the sweep varies, by column name.
        metrics: Held-out metrics by column name.
    """

    name: str
    role: Role
    status: Status | None
    params: int
    tokens: int
    flops: float
    loss: float | None
    params_embedding: int
    params_active: int
    flops_6nd: float
    flops_spent: float
    unique_tokens: int
    trunk: str | None
    seed: int
    learning_rate: float
    batch_tokens: int
    steps: int
    warmup_steps: int
    schedule: str
    precision: str
    target_params: float
    target_tokens: float
    axes: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def with_result(self, result: RunResult) -> RunRow:
        """Returns the row of the run once it has ended."""
        return replace(
            self, status=result.status, loss=result.metrics.get("loss"), metrics=result.metrics
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the values by column name, in the order of the file."""
        return {name: getattr(self, name) for name in COLUMNS} | {**self.axes, **self.metrics}


COLUMNS = tuple(f.name for f in fields(RunRow) if f.name not in ("axes", "metrics"))
"""The columns that `scalax run` writes for every run."""


def column_order(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns all columns of the rows, in the order in which they first occur.

    Example:
        >>> column_order([{"params": 1, "loss": 2}, {"params": 1, "seed": 0, "loss": 2}])
        ['params', 'loss', 'seed']
    """
    return list(dict.fromkeys(name for row in rows for name in row))
