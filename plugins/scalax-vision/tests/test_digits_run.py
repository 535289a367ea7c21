"""Runs an experiment with the package by name, and checks the scores and the table of runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scalax as sx

RUN = """
import json, sys
import scalax as sx

sx.register("model", "convnet", "scalax_vision.convnet:ConvNet", origin="scalax-vision")
sx.register("dataset", "digits", "scalax_vision.digits:Digits", origin="scalax-vision")
print(json.dumps(sx.run(sys.argv[1], sys.argv[2]).to_json()))
"""

EXPERIMENT = """
[data]
dataset = "digits"
[model]
family = "convnet"
[sweep]
kind = "list"
runs = [{ params = 10_000, tokens = 4_000 }]
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("run")
    file = folder / "digits.toml"
    file.write_text(EXPERIMENT)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file), str(folder / "out")],
        env=os.environ | {"SCALAX_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_training_on_digits_reaches_ninety_percent(outcome: dict) -> None:
    (row,) = outcome["runs"]
    assert row["status"] == "done"
    assert row["accuracy"] > 0.9  # one in ten by chance
    assert row["accuracy"] + row["error_rate"] == pytest.approx(1)


def test_the_table_counts_examples(outcome: dict) -> None:
    (row,) = outcome["runs"]
    assert row["tokens"] == 4000
    assert row["unique_tokens"] == 1208
    runs = sx.read_runs(Path(outcome["out"]))
    assert len(runs) == 1
