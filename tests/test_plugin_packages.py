"""The packages in plugins/ use only public names, their plugins conform and their sweeps run."""

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
    """Yields package, kind and name of every entry point."""
    for package in PACKAGES:
        stated = project(package).get("entry-points", {})
        for kind in KINDS:
            for name in stated.get(f"scalax.{kind}s", {}):
                yield package.name, kind, name


def experiments() -> list[Path]:
    """Returns the experiments in packages, and scalax's own that use a package's data or family."""
    in_packages = [*ROOT.glob("plugins/*/*.toml"), *ROOT.glob("plugins/*/experiments/*.toml")]
    names = {(kind, name) for _, kind, name in points()}
    own = [path for path in ROOT.glob("experiments/*.toml") if plugins_of(path) & names]
    return sorted({path for path in in_packages if path.name != "pyproject.toml"} | set(own))


def plugins_of(path: Path) -> set[tuple[str, str]]:
    """Returns kind and name of an experiment's dataset and family."""
    stated = tomllib.loads(path.read_text())
    return {("dataset", stated["data"]["dataset"]), ("model", stated["model"]["family"])}


def test_there_are_packages_of_each_kind() -> None:
    assert {kind for _, kind, _ in points()} == set(KINDS)


@pytest.mark.parametrize(("package", "kind", "name"), list(points()), ids=lambda value: value)
def test_every_plugin_conforms(package: str, kind: str, name: str) -> None:
    [report] = sx.check_plugin(f"{kind}:{name}")
    assert report.origin == package
    failed = [line for line in report.lines if not line.passed]
    if kind == "dataset" and len(failed) == 1 and "not prepared" in failed[0].detail:
        pytest.skip(failed[0].detail)  # the set must be downloaded first
    assert failed == []


def private_names(text: str) -> list[str]:
    """Returns the names that a file uses from scalax and that are not public."""
    tree, private, aliases = ast.parse(text), [], {"scalax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == "scalax":
                    aliases.add(name.asname or "scalax")
                elif name.name.startswith("scalax."):
                    private.append(name.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "scalax":
                private += [name.name for name in node.names if name.name not in sx.__all__]
            elif node.module.startswith("scalax."):
                private.append(node.module)
    for node in ast.walk(tree):
        owner = node.value if isinstance(node, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in aliases and node.attr not in sx.__all__:
            private.append(node.attr)
    return private


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_is_typed(package: Path) -> None:
    [module] = (path.parent for path in package.glob("scalax_*/__init__.py"))
    assert (module / "py.typed").is_file()
    wheel = tomllib.loads((package / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert wheel["targets"]["wheel"]["packages"] == [module.name]  # all of its files are packed


@pytest.mark.parametrize("package", [*PACKAGES, *TEMPLATES], ids=lambda path: path.name)
def test_a_package_uses_only_public_names(package: Path) -> None:
    used = {
        str(path.relative_to(package)): names
        for path in package.rglob("*.py")
        if (names := private_names(path.read_text()))
    }
    assert used == {}


def test_private_names_are_detected() -> None:
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
        pytest.skip(str(error))  # the set must be downloaded first
    done = scalax("run", path, "--out", tmp_path / "out", "--json", timeout=1200)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["fit"] is not None, outcome["notes"]
    assert outcome["diverged"] == []
    assert (tmp_path / "out" / "report.html").is_file()
