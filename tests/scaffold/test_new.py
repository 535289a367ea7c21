"""A new package of each kind passes its check and its own tests without changes."""

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
    folder = write_package(f"my-{kind}", kind, tmp_path / "package")
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
    assert (
        int(done.stdout.split(" passed")[0].split()[-1]) > 8
    )  # the lines of its check are among them


@pytest.mark.parametrize("kind", KINDS)
def test_the_new_name_replaces_the_name_of_the_template(kind: Kind, tmp_path: Path) -> None:
    folder = write_package("deep-blue-2", kind, tmp_path / "package")
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "deep-blue-2"
    [target] = project["entry-points"][f"scalax.{kind}s"].values()
    module, attribute = target.split(":")
    text = (folder / "src" / f"{module.replace('.', '/')}.py").read_text()
    assert f"{'def' if kind == 'model' else 'class'} {attribute}(" in text
    assert attribute == ("deep_blue_2" if kind == "model" else "DeepBlue2")
    assert (folder / "src" / "deep_blue_2" / "py.typed").is_file()
    for path in folder.rglob("*"):
        assert "template" not in path.name.lower()
        if path.is_file():
            assert "template" not in path.read_text().lower()
    if kind != "law":
        assert read_experiment(folder / "experiment.toml").name == "experiment"
    lint(folder)


def lint(folder: Path) -> None:
    """Checks that ruff finds nothing unused, undefined or likely wrong."""
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
        ("chinchilla", "the law 'chinchilla' already exists"),
        ("scalax", "already exists"),
    ],
)
def test_an_invalid_name_is_an_error(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ScalaxError, match=says):
        write_package(name, "law", tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "existing").mkdir()
    with pytest.raises(ScalaxError, match="the folder already exists"):
        write_package("mine", "law", tmp_path / "existing")
    assert list((tmp_path / "existing").iterdir()) == []
