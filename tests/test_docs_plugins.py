"""docs/plugins.md: its three examples conform, and run together as it says."""

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
    """Every block that names its file, written there."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(text)
    return folder


def test_the_page_has_an_example_of_each_kind(files: Path) -> None:
    assert sorted(path.name for path in files.iterdir()) == [
        "mlp.py", "one_power.py", "rings.py", "rings.toml",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["one_power", "rings", "mlp"])
def test_an_example_conforms(name: str, files: Path, scalax: Command) -> None:
    done = scalax("plugins", "check", f"{name}.py", "--plugin", "rings.py", "--json", cwd=files)
    assert done.returncode == 0, done.stdout
    [report] = json.loads(done.stdout)
    assert report["passed"]
    assert report["origin"] == f"{name}.py"


def test_the_examples_run_together(files: Path) -> None:
    line = next(line for line in PAGE.splitlines() if "scalax run rings.toml" in line)
    done = subprocess.run(
        [sys.executable, "-m", *line.split(), "--json"], env=os.environ,
        capture_output=True, text=True, cwd=files, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["runs"]) == 9
    assert told["fit"]["law"] == "one-power"


def test_the_stranger_s_path_is_there_as_it_printed() -> None:
    assert "scalax plugins new wide-window --kind model" in PAGE
    assert "counts says" in PAGE
