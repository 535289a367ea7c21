"""The answers of a law as plain records: a prediction and an allocation.

The records are written to JSON unchanged; this module computes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Prediction:
    """The forecast loss at one point.

    Attributes:
        params: Model parameters; None where neither given nor read by the law.
        tokens: Training tokens; likewise.
        flops: Training compute, in FLOPs; likewise.
        loss: Forecast of the held-out loss.
        low: Lower end of the interval for a new measurement there; None where unknown.
        high: Upper end of it.
    """

    params: float | None
    tokens: float | None
    flops: float | None
    loss: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Allocation:
    """The best split of a compute budget.

    Attributes:
        flops: The budget, in FLOPs: training, and inference where it was requested.
        params: N*, the compute-optimal parameters.
        tokens: D*, the tokens that spend the budget at that size.
        tokens_per_param: D* / N*.
        loss: Forecast of the held-out loss there; None where the law gives none.
        intervals: ``params``, ``tokens`` and ``loss``, each ``[low, high]`` or None.
        batch_tokens: Batch size in tokens, where a law for it is known.
        learning_rate: Peak learning rate, where a law for it is known.
        compute: The compute rule used, such as ``6ND``.
        law: The law that answered.
        notes: What the reader should know, such as how far it extrapolates.
        inference_tokens: Tokens served over the model's life, where given.
        training_flops: Training FLOPs, where ``flops`` includes inference.
        inference_flops: Inference FLOPs, likewise.
        hyperparameter_law: Name of the law behind ``learning_rate`` and ``batch_tokens``.
    """

    flops: float
    params: float
    tokens: float
    tokens_per_param: float
    loss: float | None
    intervals: dict[str, list[float] | None]
    batch_tokens: float | None = None
    learning_rate: float | None = None
    compute: str = "6ND"
    law: str = ""
    notes: list[str] = field(default_factory=list)
    inference_tokens: float | None = None
    training_flops: float | None = None
    inference_flops: float | None = None
    hyperparameter_law: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return asdict(self)

    def _repr_html_(self) -> str:
        def row(name: str, value: float | None, interval: list[float] | None) -> str:
            if value is None:
                return f"<tr><td>{name}</td><td>unknown</td><td></td></tr>"
            span = f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else ""
            return f"<tr><td>{name}</td><td>{value:.4g}</td><td>{span}</td></tr>"

        rows = [row("flops", self.flops, None)]
        rows += [
            row(name, getattr(self, name), self.intervals.get(name))
            for name in ("params", "tokens", "loss", "tokens_per_param")
        ]
        return f"<table><caption>allocation by {self.law}</caption>{''.join(rows)}</table>"
