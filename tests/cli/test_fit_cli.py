"""`scalax fit`, `compare` and the queries of their results, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.fit.tables import DATA

LLAMA = [str(DATA / "llama3_isoflops.csv"), "--columns", "flops=budget"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scalax", *arguments], capture_output=True, text=True, check=False
    )


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_fit_chooses_and_predict_and_allocate_answer_with_intervals(tmp_path):
    out = str(tmp_path / "fit.json")
    result = answer("fit", *LLAMA, "--law", "auto", "--interval", "0.8", "--out", out)
    assert result["law"] == "ensemble"
    assert result["coefficients"] is None
    assert result["level"] == 0.8
    (point,) = answer("predict", "--fit", out, "--params", "4e11", "--tokens", "1.6e13")
    assert set(point) >= {"params", "tokens", "flops", "loss", "low", "high"}
    assert point["low"] < point["loss"] < point["high"]
    split = answer("allocate", "--fit", out, "--flops", "1e23")
    for name in ("params", "tokens", "loss"):
        low, high = split["intervals"][name]
        assert low < split[name] < high
    far = run("predict", "--fit", out, "--params", "4e11", "--tokens", "1.6e13")
    assert "beyond what the data supports" in far.stderr


def test_a_named_law_keeps_its_contract(tmp_path):
    out = str(tmp_path / "fit.json")
    result = answer("fit", *LLAMA, "--law", "chinchilla", "--bootstrap", "20", "--out", out)
    assert set(result["coefficients"]) == {"E", "A", "B", "alpha", "beta"}
    assert set(result["intervals"]) == set(result["coefficients"])
    assert {"law", "objective", "rows", "seconds"} <= set(result)
    (point,) = answer("predict", "--fit", out, "--params", "1e10", "--tokens", "2e11")
    assert point["low"] < point["loss"] < point["high"]


def test_compare_prints_the_ranking():
    result = answer("compare", *LLAMA, "--laws", "chinchilla,joint")
    assert {(s["law"], s["weights"]) for s in result} >= {
        ("chinchilla", "flat"),
        ("joint", "compute"),
    }
    assert [s["interval_score"] for s in result] == sorted(s["interval_score"] for s in result)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--law", "chinchilla", "--fix", "E"], "--fix"),
        (["--law", "chinchilla", "--fix", "E=x"], "--fix"),
        (["--law", "chinchilla", "--bound", "E=1"], "--bound"),
        (["--law", "chinchilla", "--tie", "alpha=gamma"], "ties"),
        (["--tie", "alpha=beta"], "name a law"),
        (["--law", "chinchila"], "chinchilla"),
        (["--method", "isoflop", "--out", "fit.json"], "--out does not apply to --method isoflop"),
        (["--method", "isoflop", "--law", "auto"], "--law does not apply"),
        (["--method", "envelope", "--weights", "flops"], "--weights does not apply"),
        (["--method", "envelope", "--watch"], "--watch does not apply"),
        (["--method", "isoflop", "--bootstrap", "5"], "--bootstrap does not apply"),
        (
            ["--law", "chinchilla", "--bootstrap", "5", "--seed", "-1"],
            "-1 is not in the range",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(options, said):
    done = run("fit", *LLAMA, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_classical_route_cleans_when_asked_to(tmp_path):
    lines = (DATA / "llama3_isoflops.csv").read_text().splitlines()
    again = lines[1].replace(",2.508897482921113", ",2.508897482921114")
    table = tmp_path / "runs.csv"
    table.write_text("\n".join([*lines, again]))
    arguments = ["fit", str(table), "--columns", "flops=budget", "--method", "isoflop"]
    plain, tidied = run(*arguments), run(*arguments, "--clean")
    assert plain.returncode == tidied.returncode == 0
    assert "cleaned 1" in tidied.stderr and "cleaned" not in plain.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--law", "chinchilla", "--json"], '"law": "chinchilla"'),
        (["--law", "power-params"], "power-params: E "),
    ],
)
def test_watch_prints_a_line_a_fit_and_goes_on(options, said, tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text((DATA / "llama3_isoflops.csv").read_text().replace("budget", "flops", 1))
    with subprocess.Popen(
        [sys.executable, "-m", "scalax", "fit", str(table), "--watch", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as watching:
        try:
            first = watching.stdout.readline()
            assert said in first
            table.write_text(table.read_text() + "\n")
            second = watching.stdout.readline()
            assert said in second
            if "--json" in options:
                assert json.loads(first)["rows"] == json.loads(second)["rows"]
        finally:
            watching.kill()
