"""Sends the curves of a run to TensorBoard or Weights & Biases, through their own packages.

Both are optional: metrics.jsonl and eval.jsonl hold the same values. A package is imported only if
its writer is requested.
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
from scalax.train.records import Logger, StepMetrics

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}
"""Package of each writer."""


def check_writers(names: Iterable[str]) -> None:
    """Checks that the package of each writer is installed.

    Raises:
        ScalaxError: A package is missing; the fix is the command that installs it.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ScalaxError(
                f'"{name}" needs the package {PACKAGES[name]}, which is not installed',
                where="train.writers",
                fix=f"pip install {PACKAGES[name]}",
            )


def open_writer(name: str, folder: Path, done: int) -> Logger:
    """Opens a writer for the run in a folder, which continues after ``done`` steps."""
    return TensorBoard(folder, done) if name == "tensorboard" else WeightsAndBiases(folder)


class TensorBoard:
    """Event files in the run's ``tensorboard`` folder: ``tensorboard --logdir SWEEP/runs``.

    Args:
        folder: Folder of the run.
        done: Steps completed before.
    """

    def __init__(self, folder: Path, done: int) -> None:
        from tensorboardX import SummaryWriter

        # Steps after the checkpoint are written again; TensorBoard drops the first ones.
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def log_step(self, metrics: StepMetrics) -> None:
        """Writes the metrics of a step and its speed."""
        speed = metrics.timing.units_per_second
        for name, value in {**metrics.values, "units_per_second": speed}.items():
            self._writer.add_scalar(f"train/{name}", value, metrics.step)

    def log_eval(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Writes held-out metrics."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"eval/{name}", value, step)

    def flush(self) -> None:
        """Writes buffered events."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()


class WeightsAndBiases:
    """A W&B run. With ``WANDB_MODE=offline`` it needs no network and writes to the run's folder.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        import wandb

        path = folder if on_bucket(folder) else folder.resolve()
        run_id = hashlib.sha256(str(path).encode()).hexdigest()[:16]  # stays the same on resumption
        self._run: Any = wandb.init(
            project=path.parent.parent.name,
            name=path.name,
            id=run_id,
            resume="allow",
            dir=tempfile.mkdtemp() if on_bucket(folder) else str(path),
            reinit="finish_previous",
            settings=wandb.Settings(console="off", silent=True),
        )
        # W&B's own step counter refuses steps that are written again, so "step" is a metric here.
        self._run.define_metric("*", step_metric="step")

    def log_step(self, metrics: StepMetrics) -> None:
        """Sends the metrics of a step and its speed."""
        values = {f"train/{name}": value for name, value in metrics.values.items()}
        speed = metrics.timing.units_per_second
        self._run.log({"step": metrics.step, "train/units_per_second": speed, **values})

    def log_eval(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Sends held-out metrics."""
        self._run.log({"step": step, **{f"eval/{name}": value for name, value in metrics.items()}})

    def flush(self) -> None:
        """Does nothing: W&B's own process has everything already."""

    def close(self) -> None:
        """Ends the W&B session."""
        self._run.finish()
