"""The examples of docs/plugins.md pass their check and run; its table names each line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Command

PAGE = (ROOT / "docs" / "plugins.md").read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes each code block whose first line names a file."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(text)
    return folder


def test_the_page_has_an_example_of_each_kind(files: Path) -> None:
    assert sorted(path.name for path in files.iterdir()) == [
        "min-rnn.toml", "min_rnn.py", "mlp.py", "one_power.py", "rings.py", "rings.toml",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["min_rnn", "one_power", "rings", "mlp"])
def test_an_example_conforms(name: str, files: Path, scalax: Command) -> None:
    done = scalax("plugins", "check", f"{name}.py", "--plugin", "rings.py", "--json", cwd=files)
    assert done.returncode == 0, done.stdout
    [report] = json.loads(done.stdout)
    assert report["passed"]
    assert report["origin"] == f"{name}.py"


def test_a_family_from_a_function_fits_in_35_lines(files: Path) -> None:
    assert len((files / "min_rnn.py").read_text().splitlines()) <= 35


@pytest.mark.parametrize(
    ("command", "law"),
    [("scalax run rings.toml", "one-power"), ("scalax run min-rnn.toml", "chinchilla")],
)
def test_the_examples_run_to_a_law(files: Path, command: str, law: str) -> None:
    line = next(line for line in PAGE.splitlines() if command in line)
    done = subprocess.run(
        [sys.executable, "-m", *line.split(), "--json"], env=os.environ,
        capture_output=True, text=True, cwd=files, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert len(outcome["runs"]) == 9
    assert outcome["fit"]["law"] == law


def test_the_table_names_every_line_of_a_check(scalax: Command) -> None:
    rows = re.findall(r"^\| ?(\w*) \| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    documented: dict[str, list[str]] = {}
    for kind, demand in rows:
        if kind in ("all", "law", "dataset", "model"):
            documented[kind] = [demand]
        elif not kind:
            documented[list(documented)[-1]].append(demand)
    done = scalax("plugins", "check", "chinchilla", "--json")
    [report] = json.loads(done.stdout)
    shared = documented["all"]
    law = [line["demand"] for line in report["lines"]]
    assert law == [*shared, *documented["law"][:-1]]  # the last row is for laws of one column
    assert re.findall(r"^      passed  (.+)$", PAGE, re.MULTILINE)[:11] == [
        *shared, *documented["model"],
    ]  # fmt: skip
    assert len(documented["dataset"]) == 5
