"""A new package of each kind passes its check and its own tests before anything is changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.registry import KINDS, Kind
from scalax.scaffold.new_package import write_package
from scalax.sweep.experiment import read_experiment


@pytest.mark.parametrize("kind", ["law", "dataset", pytest.param("model", marks=pytest.mark.group)])
def test_a_new_package_passes_its_check_and_its_own_tests(kind: Kind, tmp_path: Path) -> None:
    folder = write_package(f"my-{kind}", kind, tmp_path / "made")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."],
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 8  # its check is among them


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_stands_everywhere_and_nothing_of_the_template_is_left(
    kind: Kind, tmp_path: Path
) -> None:
    folder = write_package("deep-blue-2", kind, tmp_path / "made")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "deep-blue-2"
    [target] = project["entry-points"][f"scalax.{kind}s"].values()
    module, attribute = target.split(":")
    assert f"class {attribute}(" in (folder / "src" / f"{module.replace('.', '/')}.py").read_text()
    assert attribute == "DeepBlue2"
    assert (folder / "src" / "deep_blue_2" / "py.typed").is_file()
    for path in folder.rglob("*"):
        assert "template" not in path.name.lower()
        if path.is_file():
            assert "template" not in path.read_text().lower()
    if kind != "law":
        assert read_experiment(folder / "experiment.toml").name == "experiment"
    lint(folder)


def lint(folder: Path) -> None:
    """Nothing unused, undefined or likely wrong is written."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F,W,B", "."],
        capture_output=True, text=True, cwd=folder, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My-Law", "lower-case words"),
        ("my_law", "lower-case words"),
        ("2nd", "lower-case words"),
        ("my--law", "lower-case words"),
        ("", "lower-case words"),
        ("../up", "lower-case words"),
        ("class", "lower-case words"),
        ("chinchilla", "there is a law 'chinchilla' already"),
        ("scalax", "already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ScalaxError, match=says):
        write_package(name, "law", tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ScalaxError, match="is there already"):
        write_package("mine", "law", tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []
