"""Sends a run's curves to TensorBoard or Weights & Biases, through their own packages.

Both are extra: metrics.jsonl and eval.jsonl hold the same. Neither package is imported unless
asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scalax.errors import ScalaxError
from scalax.files import on_bucket
from scalax.train.records import Line, Observer

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def check_writers(names: Iterable[str]) -> None:
    """Demands the package of each writer.

    Raises:
        ScalaxError: One is not installed; says what to type.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ScalaxError(
                f'"{name}" needs the package {PACKAGES[name]}, which is not installed',
                where="train.writers",
                fix=f"pip install {PACKAGES[name]}",
            )


def open_writer(name: str, folder: Path, done: int) -> Observer:
    """A writer for the run in a folder, going on from a step."""
    return TensorBoard(folder, done) if name == "tensorboard" else WeightsAndBiases(folder)


class TensorBoard:
    """Event files in the run's ``tensorboard`` folder: ``tensorboard --logdir SWEEP/runs``."""

    def __init__(self, folder: Path, done: int) -> None:
        from tensorboardX import SummaryWriter

        # Steps past the checkpoint are written again; TensorBoard drops the first ones.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def line(self, line: Line) -> None:
        """The step's measures, and its speed."""
        speed = line.timing["units_per_second"]
        for name, value in {**line.values, "units_per_second": speed}.items():
            self._writer.add_scalar(f"train/{name}", value, line.step)

    def score(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"eval/{name}", value, step)

    def keep(self) -> None:
        """Writes what is gathered."""
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WeightsAndBiases:
    """A W&B run; ``WANDB_MODE=offline`` works without a network, its files in the run's folder."""

    def __init__(self, folder: Path) -> None:
        import wandb

        place = folder if on_bucket(folder) else folder.resolve()
        known = hashlib.sha256(str(place).encode()).hexdigest()[:16]  # a resumed run is the same
        self._run: Any = wandb.init(
            project=place.parent.parent.name,
            name=place.name,
            id=known,
            resume="allow",
            dir=tempfile.mkdtemp() if on_bucket(folder) else str(place),
            reinit="finish_previous",
            settings=wandb.Settings(console="off", silent=True),
        )
        # The axis is a value of ours: W&B's own counter refuses steps that are written again.
        self._run.define_metric("*", step_metric="step")

    def line(self, line: Line) -> None:
        """The step's measures, and its speed."""
        values = {f"train/{name}": value for name, value in line.values.items()}
        speed = line.timing["units_per_second"]
        self._run.log({"step": line.step, "train/units_per_second": speed, **values})

    def score(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics."""
        self._run.log({"step": step, **{f"eval/{name}": value for name, value in metrics.items()}})

    def keep(self) -> None:
        """Nothing: W&B's own process has it already."""

    def close(self) -> None:
        """Ends the W&B run's session."""
        self._run.finish()
