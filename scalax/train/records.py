"""The files that a run writes while it trains, and the interface of everything that logs a run.

metrics.jsonl and eval.jsonl are functions of the run's settings alone: lines that a kill cut off
are written again, identically. timing.jsonl depends on the clock and only grows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from scalax.errors import ScalaxError
from scalax.files import flatten, write_json
from scalax.train.line_file import LineFile, read_lines, truncate_lines
from scalax.train.meter import SessionTiming


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of one step of one run.

    Attributes:
        step: Steps completed.
        units: Tokens (or examples) trained on.
        values: Metrics by name, such as ``loss`` and ``grad_norm``.
        timing: Totals of the session so far.
    """

    step: int
    units: int
    values: Mapping[str, float]
    timing: SessionTiming


@runtime_checkable
class Logger(Protocol):
    """Receives the metrics of one run."""

    def log_step(self, metrics: StepMetrics) -> None:
        """Receives the metrics of a training step."""

    def log_eval(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Receives held-out metrics at a step."""

    def flush(self) -> None:
        """Stores everything logged so far; called before each checkpoint."""

    def close(self) -> None:
        """Ends the session, after success or failure."""


@runtime_checkable
class Progress(Protocol):
    """Displays the progress of a run."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Called at each logged step with the run's name, from any thread."""


class MetricsFiles:
    """Writes metrics.jsonl and eval.jsonl.

    Args:
        folder: Folder of the run.
        done: Steps in the checkpoint. Later lines are dropped; the run writes them again.
    """

    def __init__(self, folder: Path, done: int) -> None:
        for name in ("metrics.jsonl", "eval.jsonl"):
            truncate_lines(folder / name, done)
        self._train = LineFile(folder / "metrics.jsonl")
        self._eval = LineFile(folder / "eval.jsonl")

    def log_step(self, metrics: StepMetrics) -> None:
        """Writes a line of metrics.jsonl."""
        self._train.append({"step": metrics.step, "tokens": metrics.units, **metrics.values})

    def log_eval(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Writes a line of eval.jsonl."""
        self._eval.append({"step": step, "tokens": units, **metrics})

    def flush(self) -> None:
        """Flushes both files."""
        self._train.flush()
        self._eval.flush()

    def close(self) -> None:
        """Closes both files."""
        self._train.close()
        self._eval.close()


class TimingFile:
    """Writes timing.jsonl, which `scalax.train.performance` summarises.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "timing.jsonl"
        self._file = LineFile(self._path)

    def log_step(self, metrics: StepMetrics) -> None:
        """Writes a line."""
        self.append(metrics.timing)

    def append(self, timing: SessionTiming) -> None:
        """Writes a line."""
        self._file.append(timing.to_json())

    def read(self) -> list[SessionTiming]:
        """Returns all lines, those of earlier sessions first."""
        return [SessionTiming.from_json(line) for line in read_lines(self._path)]

    def log_eval(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Does nothing: the next line includes the time of the evaluation."""

    def flush(self) -> None:
        """Flushes the file."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    """Writes spec.json, or checks that an existing one has the same settings.

    Raises:
        ScalaxError: The folder holds a run with other settings; names the first difference.
    """
    file = folder / "spec.json"
    if not file.is_file():
        write_json(file, spec)
        return
    before = flatten(json.loads(file.read_text(encoding="utf-8")))
    now = flatten(json.loads(json.dumps(spec)))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ScalaxError(
                f"{key} was {before.get(key)!r} and is now {now.get(key)!r}",
                where=str(file),
                fix="give another --out, or the original settings",
            )
