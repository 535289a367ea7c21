"""Each broken plugin, installed or local, gives one clear error and affects no other plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAW = "from tests.conform.plugins import GoodLaw\n\n\nclass Plugin(GoodLaw):\n    name = {name!r}\n"
ABSTRACT = (
    "import scalax as sx\n\n\nclass Plugin(sx.Law):\n    interface = 1\n    name = title = 'mine'\n"
)
TABLE = "params,tokens,loss\n" + "".join(
    f"{n},{d},{1.5 + 300 / n**0.3 + 900 / d**0.3}\n" for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9)
)
EXPERIMENT = """
[data]
dataset = {data!r}
[model]
family = {model!r}
[sweep]
kind = "list"
runs = [{{ params = 52, tokens = 320 }}]
[train]
batch = 8
[fit]
law = {law!r}
"""

Install = Callable[..., None]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path) -> Install:
    """Writes a distribution to a folder on Python's path, as an installer does."""

    def install_one(dist: str, text: str, kind: str = "law", name: str = "mine") -> None:
        module = dist.replace("-", "_")
        (site / f"{module}.py").write_text(text)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[scalax.{kind}s]\n{name} = {module}:Plugin\n")

    return install_one


@pytest.fixture
def cli(site: Path, tmp_path: Path) -> Cli:
    def run(*args: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scalax", *map(str, args)],
            env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
        )

    return run


BROKEN = {
    "syntax": ("def broken(:\n", "SyntaxError"),
    "missing": ("import no_such_thing\n", "install 'no_such_thing', which missing-law needs"),
    "nothing": ("x = 1\n", "AttributeError"),
    "leaving": ("raise SystemExit(1)\n", "SystemExit"),
    "number": ("Plugin = 3\n", "expected a subclass of sx.Law"),
    "abstract": (ABSTRACT, "Can't instantiate abstract class Plugin"),
    "newer": (LAW.format(name="newer") + "    interface = 2\n", "update scalax-laws"),
    "older": (LAW.format(name="older") + "    interface = 0\n", "update older-law"),
}


def test_plugins_that_do_not_load_are_reported_and_the_others_work(
    install: Install, cli: Cli
) -> None:
    for name, (text, _) in BROKEN.items():
        install(f"{name}-law", text, name=name)
    install("good-law", LAW.format(name="good"), name="good")
    listed = cli("plugins", "list", "--json")
    assert listed.returncode == 0
    plugins = {(p["kind"], p["name"]): p for p in json.loads(listed.stdout)}
    for name, (_, says) in BROKEN.items():
        problem = plugins["law", name]["error"]
        assert says in problem
        assert f"law '{name}' from {name}-law" in problem
        assert plugins["law", name]["target"] == f"{name}_law:Plugin"
    assert plugins["law", "good"]["error"] is None
    assert plugins["law", "chinchilla"]["error"] is None
    shown = cli("laws", "show", "missing")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert BROKEN["missing"][1] in shown.stderr and "Traceback" not in shown.stderr
    checked = cli("plugins", "check", "law:syntax", "--json")
    assert checked.returncode == 3
    [report] = json.loads(checked.stdout)
    assert [line["passed"] for line in report["lines"]] == [False]
    assert "SyntaxError: invalid syntax" in report["lines"][0]["detail"]


def test_an_error_names_both_plugins_of_one_name(install: Install, cli: Cli) -> None:
    install("one-law", LAW.format(name="mine"))
    install("two-law", LAW.format(name="mine") + "    title = 'another'\n")
    done = cli("plugins", "list")
    assert done.returncode == 0
    assert "claimed twice, by one-law and two-law" in done.stderr
    assert cli("plugins", "check", "mine").returncode == 3
    assert cli("laws", "show", "mine").returncode == 2


def test_a_plugin_with_a_built_in_name_does_not_replace_it(install: Install, cli: Cli) -> None:
    install("greedy-law", LAW.format(name="chinchilla"), name="chinchilla")
    listed = cli("plugins", "list")
    assert "claimed twice, by built-in and greedy-law" in listed.stderr
    shown = cli("laws", "show", "chinchilla")
    assert shown.returncode == 0
    assert "alpha" in shown.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def broken(:\n", "SyntaxError: invalid syntax"),
        ("import no_such_thing_at_all\n", "ModuleNotFoundError"),
        ("x = 1\n", "registers nothing"),
    ],
)
def test_a_file_that_does_not_run_fails_its_check(
    cli: Cli, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    done = cli("plugins", "check", "mine.py")
    assert done.returncode == 3
    assert says in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["plugins", "check", "chinchila"], "did you mean 'chinchilla'?"),
        (["plugins", "check", "nowhere.py"], "no such file"),
        (["plugins", "check", "."], "pyproject.toml: no such file"),
        (["plugins", "check", "chinchilla", "--set", "seq_len=3"], "apply to datasets only"),
        (["plugins", "check", "stdlib", "--set", "seq_len"], "expected KEY=VALUE"),
        (["plugins", "check"], "Missing argument 'TARGET'"),
        (["plugins", "new", "Bad_Name", "--kind", "law"], "lower-case words"),
        (["plugins", "new", "chinchilla", "--kind", "law"], "the law 'chinchilla' already exists"),
        (["plugins", "new", "mine", "--kind", "lawn"], "'lawn' is not one of"),
    ],
)
def test_wrong_usage_is_an_error(cli: Cli, args: list[str], says: str) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


# Faults that appear only when a plugin is used. Each adds a method to a class below.
USED = """
import jax.numpy as jnp
import numpy as np
import scalax as sx
from tests.conform.plugins import GoodData, GoodLaw, GoodModel, Opened, Rows, with_spec


class Law(GoodLaw):
    name = "mine"
{law}

class Data(GoodData):
    name = "mine"
{data}

class Model(GoodModel):
    name = "mine"
{model}

sx.register("law", "mine", Law)
sx.register("dataset", "mine", Data)
sx.register("model", "mine", Model)
"""
NAN = """
    def loss(self, xp, c, x):
        return super().loss(xp, c, x) * xp.nan
"""
RAISING = """
    def loss(self, xp, c, x):
        return super().loss(xp, c, x) + x["depth"]
"""
EMPTY = """
    def open(self, name, options):
        opened = super().open(name, options)
        opened.splits["train"] = Rows(0, 0)
        return with_spec(opened, train_examples=0)
"""
FAILING = """
    def open(self, name, options):
        opened = super().open(name, options)
        opened.splits["train"] = Late(0, 40)
        return opened


class Late(Rows):
    def __getitem__(self, index):
        return super().__getitem__(index) if index == 0 else {"image": 1 / 0}
"""
MISCOUNTED = """
    def counts(self, shape):
        return sx.Counts(50, 0, 50)
"""
UNSUMMED = """
    def sums(self, module, batch):
        sums, weight = super().sums(module, batch)
        return {"loss": sums["loss"] * batch["mask"]}, weight
"""
MISSHAPEN = """
    def sums(self, module, batch):
        return super().sums(module, batch | {"image": batch["image"][:, :1]})
"""


@pytest.mark.parametrize(
    ("broken", "code", "says"),
    [
        ({"law": NAN}, 2, "law 'mine' from mine.py: no coefficients give a finite loss"),
        ({"law": RAISING}, 3, "law 'mine' from mine.py: failed in loss (KeyError: 'depth'"),
        ({"data": EMPTY}, 2, "dataset 'mine' from mine.py: yields nothing: split 'train'"),
        ({"data": FAILING}, 3, "plugin mine.py: failed in __getitem__ (ZeroDivisionError"),
        ({"model": MISCOUNTED}, 2, "model 'mine' from mine.py: counts says 50 parameters"),
        ({"model": UNSUMMED}, 2, "sums: expected a scalar for loss, got shape (8,)"),
        ({"model": MISSHAPEN}, 3, "model 'mine' from mine.py: failed in sums (TypeError"),
    ],
)
def test_run_names_the_plugin_at_fault(
    cli: Cli, tmp_path: Path, broken: dict[str, str], code: int, says: str
) -> None:
    parts = {"law": "", "data": "", "model": ""} | broken
    text = USED
    for part, change in parts.items():
        text = text.replace("{" + part + "}", change)
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "mine.toml").write_text(EXPERIMENT.format(data="mine", model="mine", law="mine"))
    done = cli("run", "mine.toml", "--plugin", "mine.py")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (NAN, 2, "law 'mine' from mine.py: no coefficients give a finite loss on the 6 rows"),
        (RAISING, 3, "law 'mine' from mine.py: failed in loss (KeyError: 'depth'"),
    ],
)
def test_fit_names_the_law_at_fault(
    cli: Cli, tmp_path: Path, change: str, code: int, says: str
) -> None:
    (tmp_path / "mine.py").write_text(
        USED.replace("{law}", change).replace("{data}", "").replace("{model}", "")
    )
    (tmp_path / "runs.csv").write_text(TABLE)
    done = cli("fit", "runs.csv", "--law", "mine", "--plugin", "mine.py")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
