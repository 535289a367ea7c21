"""The files that a run leaves while it trains, a JSON object a line, and who else is told.

metrics.jsonl and eval.jsonl are functions of the spec alone: what a kill cut short is dropped and
written again, the same. timing.jsonl holds the clock and only grows. Nothing here trains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from scalax.errors import ScalaxError
from scalax.files import disk_error, flatten, on_bucket, to_json, write_json, write_text


@dataclass(frozen=True)
class Line:
    """What a step told.

    Attributes:
        step: Steps done.
        units: Tokens (or examples) trained on.
        values: The step's measures by name, such as ``loss`` and ``grad_norm``.
        timing: What the clock says, as `scalax.train.measure.Meter.timing` gives it.
    """

    step: int
    units: int
    values: Mapping[str, float]
    timing: Mapping[str, Any]


@runtime_checkable
class Observer(Protocol):
    """Who is told how a run goes."""

    def line(self, line: Line) -> None:
        """A step's measures."""

    def score(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Held-out metrics at a step."""

    def keep(self) -> None:
        """A checkpoint will be written: what was told so far must not be lost after it."""

    def close(self) -> None:
        """The session ends, well or not."""


@runtime_checkable
class Progress(Protocol):
    """Who shows a person how a run goes."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Called at each line of metrics, with the run's name; from any thread."""


class Metrics:
    """metrics.jsonl and eval.jsonl.

    Args:
        folder: The run's.
        done: Steps that the checkpoint holds; lines past it are dropped, to be written again.
    """

    def __init__(self, folder: Path, done: int) -> None:
        for name in ("metrics.jsonl", "eval.jsonl"):
            _truncate(folder / name, done)
        self._metrics = LineFile(folder / "metrics.jsonl")
        self._scores = LineFile(folder / "eval.jsonl")

    def line(self, line: Line) -> None:
        """One line of metrics.jsonl."""
        self._metrics.append({"step": line.step, "tokens": line.units, **line.values})

    def score(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """One line of eval.jsonl."""
        self._scores.append({"step": step, "tokens": units, **metrics})

    def keep(self) -> None:
        """Puts both where they last."""
        self._metrics.keep()
        self._scores.keep()

    def close(self) -> None:
        """Closes both."""
        self._metrics.close()
        self._scores.close()


class Timing:
    """timing.jsonl, which `scalax.train.measure` sums up."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "timing.jsonl"
        self._file = LineFile(self._path)

    def line(self, line: Line) -> None:
        """One line."""
        self.append(line.timing)

    def append(self, timing: Mapping[str, Any]) -> None:
        """One line, as `scalax.train.measure.Meter.timing` gives it."""
        self._file.append(timing)

    def lines(self) -> list[dict[str, Any]]:
        """All lines, those of earlier sessions first."""
        return read_lines(self._path)

    def score(self, step: int, units: int, metrics: Mapping[str, float]) -> None:
        """Nothing: what scoring took is in the next line."""

    def keep(self) -> None:
        """Puts it where it lasts."""
        self._file.keep()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Shown:
    """Tells a progress bar: the mean loss of the runs trained together, and their joint speed.

    Args:
        progress: The bar, which is the sweep's.
        name: The first run's.
        members: How many runs are trained together.
    """

    def __init__(self, progress: Progress, name: str, members: int) -> None:
        self._progress, self._name, self._members = progress, name, members

    def lines(self, lines: Sequence[Line]) -> None:
        """Moves the bar by a step's lines, one a run."""
        loss = sum(line.values["loss"] for line in lines) / len(lines)
        speed = self._members * lines[0].timing["units_per_second"]
        self._progress.update(self._name, lines[0].step, loss, speed)


class LineFile:
    """A file of JSON lines that grows; made with its first line.

    On a disk each line is there at once. A bucket cannot append: there the whole file is written
    anew when its lines are to be kept.

    Raises:
        JobError: The disk is full, or the bucket cannot be used.
        ScalaxError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None
        self._whole: str | None = None  # on a bucket: all of it, once there is a new line
        self._kept = True

    def append(self, values: Mapping[str, Any]) -> None:
        """Writes one line."""
        if on_bucket(self._path):
            if self._whole is None:
                self._whole = "".join(to_json(line) + "\n" for line in read_lines(self._path))
            self._whole += to_json(dict(values)) + "\n"
            self._kept = False
            return
        try:
            if self._stream is None:
                torn = self._path.is_file() and not _ends_whole(self._path)
                self._stream = self._path.open("a", encoding="utf-8")
                self._stream.write("\n" if torn else "")
            self._stream.write(to_json(dict(values)) + "\n")
            self._stream.flush()
        except OSError as error:
            raise disk_error(error, self._path) from error

    def keep(self) -> None:
        """Makes sure that every line so far outlives this process."""
        if self._whole is not None and not self._kept:
            write_text(self._path, self._whole)
            self._kept = True

    def close(self) -> None:
        """Closes what was opened."""
        self.keep()
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a line that a kill cut short is left out."""
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(text)
        except ValueError:
            continue
        found += [value] if isinstance(value, dict) else []
    return found


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    """Writes spec.json, or holds it against the one that is there.

    Raises:
        ScalaxError: The folder holds a run of other settings; names the first that differs.
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
                fix="give another --out, or the settings it was started with",
            )


def close_all(observers: Iterable[Observer]) -> None:
    """Closes every one."""
    for observer in observers:
        observer.close()


def _truncate(file: Path, step: int) -> None:
    """Drops lines past a checkpoint: they will be written again, the same."""
    if not file.is_file():
        return
    kept = [line for line in read_lines(file) if line.get("step", step + 1) <= step]
    text = "".join(to_json(line) + "\n" for line in kept)
    if text != file.read_text(encoding="utf-8"):
        write_text(file, text)


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            return True
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
