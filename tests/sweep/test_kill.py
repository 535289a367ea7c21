"""A sweep that is killed at any moment and restarted ends with a bit-identical table."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

SETTINGS = ["--set", "train.checkpoint_seconds=0.5", "--set", "sweep.tokens=[8000, 16000, 40000]"]


def start(experiment: Path, out: Path, settings: list[str] = SETTINGS) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "scalax", "run", experiment, "--out", out, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def undisturbed(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The sweep without a kill, and the seconds it took."""
    out = tmp_path_factory.mktemp("kill") / "undisturbed"
    began = time.monotonic()
    process = start(experiment, out)
    assert process.wait() == 0, process.stderr.read()
    return out, time.monotonic() - began


def finish_after(
    signals: list[int], experiment: Path, out: Path, seconds: float, seed: int
) -> list[int]:
    """Starts a sweep and signals it at random moments, then lets it finish; returns the exit codes.

    They are those that a shell tells: of a process that a signal ends before Python has begun, or
    once it has let go, 128 and the signal.
    """
    rng = random.Random(seed)
    codes = []
    for number in signals:
        process = start(experiment, out)
        time.sleep(rng.uniform(0.2, 1.0) * seconds)
        process.send_signal(number)
        code = process.wait()
        codes.append(code if code >= 0 else 128 - code)
        process.stderr.close()
    process = start(experiment, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return codes


def same_results(one: Path, other: Path) -> None:
    assert (one / "runs.csv").read_bytes() == (other / "runs.csv").read_bytes()
    assert (one / "check.json").read_bytes() == (other / "check.json").read_bytes()
    for metrics in sorted([*one.rglob("metrics.jsonl"), *one.rglob("eval.jsonl")]):
        assert metrics.read_bytes() == (other / metrics.relative_to(one)).read_bytes(), metrics


@pytest.mark.group
def test_killed_twice_it_ends_with_the_same_table(
    undisturbed: tuple[Path, float], experiment: Path, tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    finish_after([signal.SIGKILL, signal.SIGKILL], experiment, tmp_path / "o", seconds, seed=0)
    same_results(whole, tmp_path / "o")


@pytest.mark.group
def test_asked_to_stop_it_saves_and_says_so_by_its_exit_code(
    undisturbed: tuple[Path, float], experiment: Path, tmp_path: Path
) -> None:
    whole, seconds = undisturbed
    codes = finish_after(
        [signal.SIGTERM, signal.SIGINT], experiment, tmp_path / "o", 0.8 * seconds, seed=1
    )
    assert set(codes) <= {143, 130, 0}, codes
    same_results(whole, tmp_path / "o")


def parameters(out: Path) -> list[np.ndarray]:
    """All arrays of the last checkpoint of the only run."""
    (folder,) = out.glob("runs/*/checkpoints")
    with ocp.CheckpointManager(folder) as manager:
        leaves = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())["leaves"]
    return [np.asarray(leaf) for leaf in leaves]


@pytest.mark.slow
def test_one_run_killed_twenty_times_has_the_same_parameters(
    experiment: Path, tmp_path: Path
) -> None:
    one = [
        "sweep={kind='list', runs=[{params=14000, tokens=300_000}]}", "train.eval_every=50_000",
        "train.checkpoint_seconds=0.2", "train.skip_spikes=6.0",
    ]  # fmt: skip
    settings = [word for setting in one for word in ("--set", setting)]
    file = tmp_path / "one.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for _ in range(2):  # the second with all compiled, as the killed ones will be
        shutil.rmtree(whole, ignore_errors=True)
        began = time.time()
        process = start(file, whole, settings)
        assert process.wait() == 0, process.stderr.read()
    (timing,) = whole.glob("runs/*/timing.jsonl")
    lines = timing.read_text().splitlines()
    first, last = (json.loads(line)["unix"] for line in (lines[0], lines[-1]))
    rng = random.Random(0)
    for _ in range(20):  # each may train up to a twelfth of the run: it does not end before
        process = start(file, killed, settings)
        time.sleep(rng.uniform(0.5 * (first - began), first - began + (last - first) / 12))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    process = start(file, killed, settings)
    assert process.wait() == 0, process.stderr.read()
    same_results(whole, killed)
    for ours, theirs in zip(parameters(whole), parameters(killed), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_killed_at_many_moments_it_ends_with_the_same_table(
    undisturbed: tuple[Path, float], experiment: Path, tmp_path: Path, seed: int
) -> None:
    whole, seconds = undisturbed
    finish_after([signal.SIGKILL] * 2, experiment, tmp_path / "o", seconds, seed)
    same_results(whole, tmp_path / "o")
