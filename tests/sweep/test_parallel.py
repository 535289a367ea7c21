"""Runs that leave devices idle train at the same time, with the results of separate runs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalax.train.line_file import read_lines

ONE_DEVICE = ["train.mesh={data=1}", "sweep.params=[9_000, 10_000, 14_000]"]


def command(file: Path, out: Path, settings: list[str]) -> list[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "scalax", "run", str(file), "--out", str(out), *words]


def run(file: Path, out: Path, settings: list[str], devices: int = 2) -> None:
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    done = subprocess.run(
        command(file, out, settings), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def without_check(experiment: Path) -> Path:
    file = experiment.parent / "at-once.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    return file


@pytest.fixture(scope="module")
def one_after_another(without_check: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("at-once") / "out"
    run(without_check, out, ONE_DEVICE, devices=1)
    return out


def sessions(out: Path) -> list[tuple[float, float]]:
    """Returns the start and end time of the work on each trunk."""
    result = []
    for file in sorted(out.glob("runs/*-trunk/timing.jsonl")):
        lines = read_lines(file)
        result.append((lines[0]["session"], lines[-1]["unix"]))
    return result


def same(one: Path, other: Path) -> None:
    assert (one / "runs.csv").read_bytes() == (other / "runs.csv").read_bytes()
    for file in sorted(one.rglob("metrics.jsonl")):
        assert file.read_bytes() == (other / file.relative_to(one)).read_bytes(), file


def test_two_runs_of_one_device_train_at_the_same_time_with_bit_identical_results(
    without_check: Path, one_after_another: Path, tmp_path: Path
) -> None:
    run(without_check, tmp_path / "out", ONE_DEVICE)
    same(one_after_another, tmp_path / "out")

    def overlap(out: Path) -> bool:
        spans = sorted(sessions(out))
        return any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))

    assert overlap(tmp_path / "out")
    assert not overlap(one_after_another)


@pytest.mark.slow
def test_stopped_and_killed_they_end_with_the_same_table(
    without_check: Path, one_after_another: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen(
            command(without_check, out, ONE_DEVICE), stderr=subprocess.DEVNULL
        )
        before = len(list(out.rglob("timing.jsonl")))
        while process.poll() is None and len(list(out.rglob("timing.jsonl"))) < before + 1:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait() == (143 if number == signal.SIGTERM else -number)
    run(without_check, out, ONE_DEVICE)
    same(one_after_another, out)


def test_a_run_that_fails_makes_the_others_save_and_is_reported(
    without_check: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "runs" / "n10000-trunk").mkdir(parents=True)
    (out / "runs" / "n10000-trunk" / "spec.json").write_text(json.dumps({"seed": 5}))
    done = subprocess.run(
        command(without_check, out, ONE_DEVICE), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "spec.json" in done.stderr
    assert "Traceback" not in done.stderr
