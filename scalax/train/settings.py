"""The settings that determine a training run; stored in spec.json and compared on resumption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from scalax.models.compute import Recompute
from scalax.shapes.base import Recipe

Schedule = Literal["wsd", "cosine", "constant"]


@dataclass(frozen=True)
class TrainSpec:
    """Settings of one training run.

    Attributes:
        family: Name of the model family.
        shape: The architecture, as the family's frozen dataclass.
        data: Fingerprint of the dataset.
        recipe: Hyperparameters.
        steps: Optimiser steps.
        units_per_step: Tokens (or examples) in a batch.
        schedule: Learning rate schedule: ``wsd``, ``cosine`` or ``constant``.
        warmup_steps: Steps of linear warm-up.
        decay_start: Step at which the learning rate starts to decay; ``steps`` for a trunk,
            which never decays.
        seed: Random seed of the initial parameters and the data order.
        precision: ``f32`` or ``bf16`` computation; parameters and loss are float32.
        eval_examples: Held-out examples in an evaluation.
        log_every: Steps between lines of metrics.jsonl.
        mesh: ``auto``, or devices along each axis; one of them may be ``auto``.
        skip_spikes: Deviations of the log gradient norm above which a batch is skipped, or None.
        eval_every: Steps between lines of eval.jsonl; None to evaluate at the end only.
        recompute: What the backward pass recomputes: see `scalax.models.compute.Compute`.
        accumulate: Number of parts of a batch, computed one after another.
    """

    family: str
    shape: Any
    data: str
    recipe: Recipe
    steps: int
    units_per_step: int
    schedule: Schedule
    warmup_steps: int
    decay_start: int
    seed: int
    precision: Literal["f32", "bf16"]
    eval_examples: int
    log_every: int
    mesh: Mapping[str, int | Literal["auto"]] | Literal["auto"] = field(default="auto")
    skip_spikes: float | None = None
    eval_every: int | None = None
    recompute: Recompute = "none"
    accumulate: int = 1

    @property
    def units(self) -> int:
        """Tokens (or examples) trained on."""
        return self.steps * self.units_per_step

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values. Leaves out mesh, recompute and accumulate, which may change."""
        values = asdict(self)
        return {k: v for k, v in values.items() if k not in ("mesh", "recompute", "accumulate")}
