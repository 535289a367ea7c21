"""A sweep end to end: its files, resuming, divergence, a full disk."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from tests.conftest import Command


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def finished(
    experiment: Path, scalax: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("sweep") / "out"
    done = scalax("run", experiment, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_the_folder_has_all_documented_files(finished: tuple[Path, dict[str, Any]]) -> None:
    out, outcome = finished
    rows = table(out)
    assert [row["role"] for row in rows] == ["fit"] * 4 + ["check"]
    for row in rows:
        assert row["status"] == "done"
        assert 1 < float(row["loss"]) < 6
        folder = out / "runs" / row["name"]
        spec = json.loads((folder / "spec.json").read_text())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1]["step"] == spec["steps"] == int(row["steps"])
        assert [a["step"] for a in lines] == sorted({a["step"] for a in lines})
        assert (folder / "timing.jsonl").is_file()
        assert list((folder / "checkpoints").iterdir())
    for name in ("experiment.toml", "fit.json", "report.html"):
        assert (out / name).stat().st_size > 0
    assert {p.name for p in (out / "figures").iterdir()} == {
        "loss_curves.png", "loss_vs_compute.png", "forecast.png",
    }  # fmt: skip
    assert set(outcome) >= {"out", "runs", "diverged", "fit", "check", "allocation"}


def test_the_fit_records_the_family_of_its_runs(finished: tuple[Path, dict[str, Any]]) -> None:
    settings = json.loads((finished[0] / "fit.json").read_text())["settings"]
    assert settings["family"] == "transformer"
    assert "hyperparameters" not in settings  # the sweep varied none


def test_the_forecast_is_compared_with_the_check_run(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    out, outcome = finished
    (record,) = json.loads((out / "check.json").read_text())
    assert set(record) >= {"params", "tokens", "flops", "predicted", "low", "high", "measured"}
    check = table(out)[-1]
    assert record["measured"] == float(check["loss"])
    assert (record["params"], record["tokens"]) == (int(check["params"]), int(check["tokens"]))
    assert outcome["check"] == [record]


def test_started_again_it_repeats_nothing(
    finished: tuple[Path, dict[str, Any]], experiment: Path, scalax: Command
) -> None:
    out, outcome = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("metrics.jsonl")}
    rows = (out / "runs.csv").read_bytes()
    again = scalax("run", experiment, "--out", out, "--json")
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in out.rglob("metrics.jsonl")} == before
    assert (out / "runs.csv").read_bytes() == rows
    assert json.loads(again.stdout)["check"] == outcome["check"]


def test_a_folder_whose_file_lacks_newer_settings_is_resumed(
    finished: tuple[Path, dict[str, Any]], experiment: Path, scalax: Command
) -> None:
    file = finished[0] / "experiment.toml"
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    for name in ("backtest", "level", "columns"):  # settings that version 0.1 did not have
        del settings["fit"][name]
    file.write_text(tomlkit.dumps(settings), encoding="utf-8")
    again = scalax("run", experiment, "--out", finished[0], "--json")
    assert again.returncode == 0, again.stderr


def test_changed_settings_are_named(
    finished: tuple[Path, dict[str, Any]], experiment: Path, scalax: Command
) -> None:
    done = scalax(
        "run", experiment, "--out", finished[0], "--set", "seed=5", "--set", "fit.delta=1"
    )
    assert done.returncode == 2
    assert "seed was 0, is 5" in done.stderr
    assert "fit.delta was 0.001, is 1" in done.stderr


def test_the_sweep_enters_every_other_command(
    finished: tuple[Path, dict[str, Any]], scalax: Command
) -> None:
    out, outcome = finished
    fitted = json.loads(scalax("fit", out, "--law", "chinchilla", "--json").stdout)
    assert fitted["rows"] == 4
    assert fitted["objective"] == pytest.approx(outcome["fit"]["objective"], rel=1e-6)
    done = scalax("predict", "--fit", out / "fit.json", "--params", 2e4, "--tokens", 16e3, "--json")
    (answer,) = json.loads(done.stdout)
    assert answer["low"] <= answer["loss"] <= answer["high"]


def test_a_run_that_diverges_is_marked_and_the_sweep_continues(
    experiment: Path, scalax: Command, tmp_path: Path
) -> None:
    done = scalax(
        "run", experiment, "--out", tmp_path / "o", "--json",
        "--set", "sweep.axes.learning_rate=[0.01, 1e9]", "--set", "train.clip='none'",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    rows = table(tmp_path / "o")
    assert len(rows) == 9
    assert {r["learning_rate"] for r in rows if r["status"] == "diverged"} == {"1000000000.0"}
    assert len(outcome["diverged"]) == 4
    assert outcome["fit"]["rows"] == 4
    assert all(r["loss"] == "" for r in rows if r["status"] == "diverged")


def test_run_and_fit_agree_on_a_sweep_over_learning_rates(
    experiment: Path, scalax: Command, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    done = scalax(
        "run", experiment, "--out", out, "--json", "--set", "sweep.axes.learning_rate=[1e-5, 0.01]"
    )
    assert done.returncode == 0, done.stderr
    swept = json.loads(done.stdout)["fit"]
    again = scalax("fit", out, "--law", "chinchilla", "--json")
    refitted = json.loads(again.stdout)
    assert refitted["rows"] == swept["rows"] == 4
    assert refitted["objective"] == pytest.approx(swept["objective"], rel=1e-6)
    assert "on the edge of those tried" in again.stderr


@pytest.mark.parametrize("law", ["data-constrained", "power-flops", "auto"])
def test_any_law_that_a_sweep_can_fit_ends_in_a_report(
    experiment: Path, scalax: Command, tmp_path: Path, law: str
) -> None:
    out = tmp_path / "o"
    done = scalax(
        "run", experiment, "--out", out, "--json", "--set", f"fit.law='{law}'",
        "--set", "sweep.tokens=[4000, 8000, 12000]",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["check"][0]["predicted"] > 0
    assert (out / "report.html").is_file()
    assert (outcome["allocation"] is None) == (law == "power-flops")


def test_dry_run_prints_the_plan_and_writes_nothing(
    experiment: Path, scalax: Command, tmp_path: Path
) -> None:
    done = scalax("run", experiment, "--out", tmp_path / "o", "--dry-run", "--json")
    found = json.loads(done.stdout)
    assert len(found["runs"]) == 5
    assert found["flops"] == pytest.approx(sum(r["flops_spent"] for r in found["runs"]))
    assert not (tmp_path / "o").exists()


def test_a_full_disk_is_one_error_and_loses_nothing(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """A limit on file size makes the system refuse writes, as a full disk does."""
    out = tmp_path / "o"
    shutil.copytree(finished[0], out)
    before = (out / "runs.csv").read_bytes()
    code = f"""
import resource, signal, sys
from pathlib import Path
from scalax.errors import JobError
from scalax.runs.csv_writer import write_runs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_runs(Path({str(out)!r}) / "runs.csv", [{{"loss": 0.1}}] * 1000)
except JobError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3, done.stderr
    assert "the disk is full" in done.stdout
    assert (out / "runs.csv").read_bytes() == before
    assert not list(out.glob(".runs.csv.*"))


def test_an_unwritable_folder_is_one_error(experiment: Path, scalax: Command) -> None:
    done = scalax("run", experiment, "--out", "/proc/scalax")
    assert done.returncode == 2
    assert "/proc/scalax: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
