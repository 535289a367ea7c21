"""The outcome of a sweep: its runs, the fitted law, the tested forecast and the allocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalax.fit.hyperparameters import Tuning
from scalax.predict.answers import Allocation
from scalax.predict.fit_result import Fit
from scalax.runs.schema import RunRow


@dataclass(frozen=True)
class ForecastCheck:
    """A forecast made before a check run was trained, and the measurement.

    Attributes:
        params: Parameters of the run.
        tokens: Tokens (or examples) that it trains on.
        flops: Its training FLOPs.
        predicted: Forecast of the fitted metric; None without a law.
        low: Lower end of the forecast's interval, if it has one.
        high: Upper end.
        measured: The metric as measured; None before the run ends and if it diverged.
    """

    params: float
    tokens: float
    flops: float
    predicted: float | None
    low: float | None
    high: float | None
    measured: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as check.json stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ForecastCheck:
        """Reads what `to_json` returned."""
        return cls(**values)


@dataclass(frozen=True)
class ComputeCost:
    """The compute of a sweep.

    Attributes:
        flops: FLOPs of all runs if each were trained by itself.
        flops_spent: FLOPs of trunks and branches together.

    Example:
        >>> ComputeCost(flops=1e10, flops_spent=5e9).saved
        0.5
    """

    flops: float
    flops_spent: float

    @property
    def saved(self) -> float:
        """Share of ``flops`` that shared trunks saved."""
        return 1 - self.flops_spent / self.flops if self.flops else 0.0

    def to_json(self) -> dict[str, float]:
        """Returns the record as JSON values."""
        return {"flops": self.flops, "flops_spent": self.flops_spent, "saved": self.saved}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a sweep.

    Attributes:
        out: The sweep's folder.
        runs: Rows of the runs table, for all runs that ended.
        unit: Unit of the training data, such as ``tokens``.
        metric: The fitted metric.
        fit: The fitted law; None if too few runs ended.
        check: The tested forecasts, one for each check run.
        allocation: The best split of ten times the compute of the largest run, if the law has one.
        notes: Notes and warnings for the reader.
        tuning: Laws of the best learning rate and batch, if the sweep varied them.
    """

    out: Path
    runs: Sequence[RunRow]
    unit: str
    metric: str
    fit: Fit | None
    check: Sequence[ForecastCheck]
    allocation: Allocation | None
    notes: Sequence[str]
    tuning: Tuning | None = None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The runs table as dictionaries, as runs.csv stores it."""
        return [run.to_dict() for run in self.runs]

    @property
    def compute(self) -> ComputeCost:
        """What the runs cost together, and what they would have cost without shared trunks."""
        flops = float(sum(run.flops for run in self.runs))
        return ComputeCost(flops, float(sum(run.flops_spent for run in self.runs)))

    @property
    def diverged(self) -> list[str]:
        """Names of the runs that diverged."""
        return [run.name for run in self.runs if run.status == "diverged"]

    def to_json(self) -> dict[str, Any]:
        """Returns the outcome as ``scalax run --json`` prints it."""
        fit = self.fit.to_json() if self.fit else None
        if fit is not None:
            fit = {k: v for k, v in fit.items() if k not in ("samples", "residuals")}
        return {
            "out": str(self.out),
            "runs": self.rows,
            "compute": self.compute.to_json(),
            "diverged": self.diverged,
            "fit": fit,
            "check": [check.to_json() for check in self.check],
            "allocation": self.allocation.to_json() if self.allocation else None,
            "hyperparameters": self.tuning.to_json() if self.tuning else None,
            "notes": list(self.notes),
        }
