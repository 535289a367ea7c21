"""The packages in plugins/: on public names alone, each one's plugins conform, its sweeps run."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import scalax as sx
from scalax.errors import ScalaxError
from scalax.registry import KINDS
from scalax.sweep.run import prepare
from tests.conftest import ROOT, Command

PACKAGES = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
TEMPLATES = sorted(path.parent for path in ROOT.glob("scalax/scaffold/templates/*/pyproject.toml"))


def project(package: Path) -> dict:
    return tomllib.loads((package / "pyproject.toml").read_text())["project"]


def points() -> Iterator[tuple[str, str, str]]:
    """Package, kind and name of every entry point."""
    for package in PACKAGES:
        stated = project(package).get("entry-points", {})
        for kind in KINDS:
            for name in stated.get(f"scalax.{kind}s", {}):
                yield package.name, kind, name


def experiments() -> list[Path]:
    """Those in the packages, and those of scalax's own that read a package's data or train its
    family."""
    theirs = [*ROOT.glob("plugins/*/*.toml"), *ROOT.glob("plugins/*/experiments/*.toml")]
    names = {(kind, name) for _, kind, name in points()}
    ours = [path for path in ROOT.glob("experiments/*.toml") if plugged(path) & names]
    return sorted({path for path in theirs if path.name != "pyproject.toml"} | set(ours))


def plugged(path: Path) -> set[tuple[str, str]]:
    """Kinds and names of what an experiment reads and trains."""
    stated = tomllib.loads(path.read_text())
    return {("dataset", stated["data"]["dataset"]), ("model", stated["model"]["family"])}


def test_there_are_packages_of_each_kind() -> None:
    assert {kind for _, kind, _ in points()} == set(KINDS)


@pytest.mark.parametrize(("package", "kind", "name"), list(points()), ids=lambda value: value)
def test_every_plugin_conforms(package: str, kind: str, name: str) -> None:
    [report] = sx.check_plugin(f"{kind}:{name}")
    assert report.origin == package
    wrong = [line for line in report.lines if not line.passed]
    if kind == "dataset" and len(wrong) == 1 and "not prepared" in wrong[0].detail:
        pytest.skip(wrong[0].detail)  # a set that must be downloaded first, and says how
    assert wrong == []


def private_names(text: str) -> list[str]:
    """What a file takes from scalax that is none of its public names."""
    tree, found, called = ast.parse(text), [], {"scalax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == "scalax":
                    called.add(name.asname or "scalax")
                elif name.name.startswith("scalax."):
                    found.append(name.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "scalax":
                found += [name.name for name in node.names if name.name not in sx.__all__]
            elif node.module.startswith("scalax."):
                found.append(node.module)
    for node in ast.walk(tree):
        owner = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in called and node.attr not in sx.__all__:
            found.append(node.attr)
    return found


@pytest.mark.parametrize("package", [*PACKAGES, *TEMPLATES], ids=lambda path: path.name)
def test_a_package_uses_public_names_alone(package: Path) -> None:
    used = {
        str(path.relative_to(package)): names
        for path in package.rglob("*.py")
        if (names := private_names(path.read_text()))
    }
    assert used == {}


def test_private_names_are_seen() -> None:
    text = "import scalax as sx\nimport scalax.registry\nfrom scalax.files import to_json\n"
    text += "from scalax import fit, nothing\nsx.registry\nsx.Law\n"
    assert private_names(text) == ["scalax.registry", "scalax.files", "nothing", "registry"]


def test_scalax_names_no_package() -> None:
    names = [package.name for package in PACKAGES]
    words = re.compile("|".join({*names, *(name.replace("-", "_") for name in names)}))
    named = {
        str(path): found
        for path in (ROOT / "scalax").rglob("*")
        if path.suffix in (".py", ".toml", ".md") and (found := words.findall(path.read_text()))
    }
    assert named == {}


@pytest.mark.slow
@pytest.mark.parametrize("path", experiments(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_experiment_runs_to_its_law(path: Path, tmp_path: Path, scalax: Command) -> None:
    try:
        prepare(path)
    except ScalaxError as error:
        if "not prepared" not in str(error):
            raise
        pytest.skip(str(error))  # a set that must be downloaded first, and says how
    done = scalax("run", path, "--out", tmp_path / "out", "--json", timeout=1200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fit"] is not None, told["notes"]
    assert told["diverged"] == []
    assert (tmp_path / "out" / "report.html").is_file()
