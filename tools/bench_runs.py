"""Rows of bench_train.py that measure whole `scalax run` processes: lost time and memory.

Each row starts the command as a user would, with its own folder and cache, and reads the run's
timing.jsonl and performance.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_row import row

MIB = 2**20
CHECKPOINTED_SECONDS = 80
"""Time for one checkpoint at the default interval of 60 s and the final one, seconds."""
ROWS_OF_TEXT = (50_000, 5_000_000)


@dataclass(frozen=True)
class Ran:
    """Measurements of one `scalax run`.

    Attributes:
        first_step_seconds: Time from the start of the process to the first logged step.
        peak_bytes: Peak resident memory of the process, including packing and compilation.
        performance: performance.json of each run and trunk.
    """

    first_step_seconds: float
    peak_bytes: int
    performance: list[dict[str, Any]]

    def share(self, part: str) -> float:
        """Returns the share of a part in the time without compilation and evaluation."""
        lost = sum(float(run[f"{part}_seconds"]) for run in self.performance)
        return lost / sum(
            float(run["seconds"] - run["compile_seconds"] - run["evaluate_seconds"])
            for run in self.performance
        )


def input_wait() -> Iterator[dict[str, Any]]:
    """Measures the wait for batches of the embedded text, at the quickstart's extreme sizes."""
    for params in (20_000, 160_000):
        with _temporary_folder() as folder:
            ran = _run(folder, _experiment(_STDLIB, params, 600_000))
        share = ran.share("input")
        name = f"input pipeline: share of step time waited, {params:,} params"
        yield row(name, share, 0.02, share < 0.02)


def checkpoint_cost() -> Iterator[dict[str, Any]]:
    """Measures how long checkpoints block training at the default interval, 5 M parameters."""
    with _temporary_folder() as folder:
        experiment = _experiment(_STDLIB, 5_000_000, 4_000_000) + "[train]\nbatch = 16\n"
        ran = _run(folder, experiment, stop_after=CHECKPOINTED_SECONDS)
    share = ran.share("checkpoint")
    name = "checkpoints: share of wall time, one each 60 s, 5 M params"
    yield row(name, share, 0.02, share < 0.02)


def start() -> Iterator[dict[str, Any]]:
    """Measures the time from process start to the first step, with cached compiled steps."""
    with _temporary_folder() as folder:
        experiment = _experiment(_STDLIB, 20_000, 100_000)
        _run(folder, experiment)
        seconds = min(_run(folder, experiment).first_step_seconds for _ in range(2))
    name = "start to first step, seconds, compile cache warm, smallest model"
    yield row(name, seconds, 6.0, seconds < 6)


def resident_memory() -> Iterator[dict[str, Any]]:
    """Compares the peak resident memory with 5 M rows of text and with 50 k rows."""
    peaks = []
    for count in ROWS_OF_TEXT:
        with _temporary_folder() as folder:
            _write_rows(folder / "rows.jsonl", count)
            data = f'dataset = "text"\nfiles = ["{folder}/rows.jsonl"]'
            peaks.append(_run(folder, _experiment(data, 20_000, 200_000)).peak_bytes / MIB)
    few, many = peaks
    name = "resident memory, MiB, 5 M rows against 50 k"
    yield row(name, many, "within 50 MiB", many - few < 50, few)


ROWS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "input pipeline": input_wait,
    "checkpoints": checkpoint_cost,
    "start": start,
    "resident memory": resident_memory,
}
_STDLIB = 'dataset = "stdlib"'


def _experiment(data: str, params: int, tokens: int) -> str:
    return f"""
[data]
{data}
seq_len = 128

[model]
family = "transformer"
tied = true

[sweep]
kind = "grid"
params = [{params}]
tokens = [{tokens}]
"""


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scalax-bench-") as folder:
        yield Path(folder)


def _run(folder: Path, experiment: str, stop_after: float | None = None) -> Ran:
    """Runs an experiment in its own process, with its cache in the folder."""
    (folder / "experiment.toml").write_text(experiment)
    out = Path(tempfile.mkdtemp(dir=folder, prefix="out-"))
    command = [sys.executable, "-m", "scalax", "run", folder / "experiment.toml", "--out", out]
    # A fresh cache, so that packing the data is part of the measurement.
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    started = time.time()
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            list(map(str, command)),
            stdout=log,
            stderr=log,
            env={**environment, "SCALAX_CACHE": str(folder / "cache")},
        ) as process,
    ):
        if stop_after is not None:
            while not list(out.glob("runs/*/timing.jsonl")) and process.poll() is None:
                time.sleep(0.1)
            time.sleep(stop_after)
            process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != (0 if stop_after is None else 143):
        raise SystemExit((folder / "log").read_text())
    first = min(
        json.loads(file.read_text().splitlines()[0])["unix"]
        for file in out.glob("runs/*/timing.jsonl")
    )
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    performance = [json.loads(file.read_text()) for file in out.glob("runs/*/performance.json")]
    return Ran(first - started, peak, performance)


def _write_rows(file: Path, count: int) -> None:
    """Writes short rows of text, all different."""
    draw = random.Random(0)
    words = [
        "a",
        "law",
        "of",
        "loss",
        "needs",
        "many",
        "small",
        "runs",
        "and",
        "one",
        "honest",
        "guess",
        "at",
        "the",
        "next",
    ]
    with file.open("w", encoding="utf-8") as out:
        for k in range(count):
            out.write(f'{{"text": "{k} {draw.choice(words)} {draw.choice(words)}"}}\n')
