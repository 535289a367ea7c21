"""Each run of an ensemble has the result of a separate run, also after a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Command

AXES = [
    "sweep.axes={seed=[0, 1], learning_rate=[0.002, 0.01]}", "sweep.params=[9_000]",
    "train.eval_every=2_048", "train.clip='none'",
]  # fmt: skip


def words(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "runs.csv").open() as stream:
        return {row["name"]: row for row in csv.DictReader(stream)}


def lines(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def without_check(experiment: Path) -> Path:
    file = experiment.parent / "no-check.toml"
    file.write_text(experiment.read_text().split("[check]")[0])
    return file


@pytest.fixture(scope="module")
def separate_and_together(
    without_check: Path, scalax: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The same sweep trained as separate runs, and in ensembles of four."""
    folders = []
    for how in ("'never'", "4"):
        out = tmp_path_factory.mktemp("ensemble") / "out"
        settings = words([*AXES, f"train.ensemble={how}"])
        done = scalax("run", without_check, "--out", out, *settings)
        assert done.returncode == 0, done.stderr
        folders.append(out)
    return folders[0], folders[1]


def test_each_run_has_the_result_of_a_separate_run(
    separate_and_together: tuple[Path, Path],
) -> None:
    alone, together = separate_and_together
    separate, ours = table(alone), table(together)
    assert list(separate) == list(ours)
    assert len({row["loss"] for row in ours.values()}) == len(ours) == 8
    for name, row in ours.items():
        assert list(row) == list(separate[name])
        assert float(row["loss"]) == pytest.approx(float(separate[name]["loss"]), rel=1e-4)
        assert row | {"loss": ""} == separate[name] | {"loss": ""}
    for file in sorted([*alone.rglob("metrics.jsonl"), *alone.rglob("eval.jsonl")]):
        other = lines(together / file.relative_to(alone))
        for one, two in zip(lines(file), other, strict=True):
            assert two == pytest.approx(one, rel=1e-3)


def test_each_run_has_the_files_of_a_separate_run(separate_and_together: tuple[Path, Path]) -> None:
    alone, together = separate_and_together
    for folder in sorted((alone / "runs").iterdir()):
        ours = together / "runs" / folder.name
        assert {p.name for p in ours.iterdir()} == {p.name for p in folder.iterdir()}
        if (folder / "checkpoints").is_dir():
            last = max(int(p.name) for p in (folder / "checkpoints").iterdir())
            assert (ours / "checkpoints" / str(last) / "checkpoint.json").is_file()
        for name in ("spec.json", "result.json"):
            if (folder / name).is_file():
                assert (
                    json.loads((ours / name).read_text()).keys()
                    == json.loads((folder / name).read_text()).keys()
                )
    assert json.loads((ours / "performance.json").read_text())["ensemble"] == 4
    assert not list((together / "ensembles").iterdir())


def test_the_choice_is_stored(separate_and_together: tuple[Path, Path]) -> None:
    kept = json.loads((separate_and_together[1] / "execution.json").read_text())
    (unit,) = kept["units"]
    assert len(unit["groups"]) == 4
    assert unit["why"] == "train.ensemble = 4"


@pytest.mark.group
def files_named(folder: Path, name: str) -> list[Path]:
    """Lists files while the sweep moves folders: os.walk skips a folder that has gone."""
    return [Path(path) / name for path, _, files in os.walk(folder) if name in files]


def test_killed_and_resumed_it_ends_with_the_same_table_to_the_bit(
    separate_and_together: tuple[Path, Path], without_check: Path, tmp_path: Path
) -> None:
    whole, out = separate_and_together[1], tmp_path / "out"
    settings = words([*AXES, "train.ensemble=4", "train.checkpoint_seconds=0.01"])
    command = [sys.executable, "-m", "scalax", "run", without_check, "--out", out, *settings]
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        sizes = [file.stat().st_size for file in files_named(out, "metrics.jsonl")]
        while process.poll() is None and (
            sizes == [file.stat().st_size for file in files_named(out, "metrics.jsonl")]
            or not files_named(out, "checkpoint.json")
        ):
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait() in (-number, 128 + number), "it ended before it was killed"
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    assert (out / "runs.csv").read_bytes() == (whole / "runs.csv").read_bytes()
    for file in sorted([*whole.rglob("metrics.jsonl"), *whole.rglob("eval.jsonl")]):
        assert file.read_bytes() == (out / file.relative_to(whole)).read_bytes(), file


def test_a_member_that_diverges_does_not_affect_the_others(
    separate_and_together: tuple[Path, Path], without_check: Path, scalax: Command, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = [*AXES, "sweep.axes={learning_rate=[1e9, 0.01]}", "train.ensemble=2"]
    done = scalax("run", without_check, "--out", out, *words(settings))
    assert done.returncode == 0, done.stderr
    rows = list(table(out).values())
    assert [row["status"] for row in rows] == ["diverged"] * 2 + ["done"] * 2
    separate = table(separate_and_together[0])
    for row in rows[2:]:
        other = separate[row["name"].replace("-learning", "-seed0-learning")]
        assert float(row["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)


def test_an_ensemble_with_a_mesh_is_refused(without_check: Path, scalax: Command) -> None:
    done = scalax(
        "run", without_check, *words(["train.ensemble=2", "train.mesh={data=2}"]), "--dry-run"
    )
    assert done.returncode == 2
    assert "mesh" in done.stderr
    assert "Traceback" not in done.stderr
