"""From what a user names to its reports: a registered name, a package's folder, or one file."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalax import registry
from scalax.conform.report import Checklist, Line, Report
from scalax.errors import ScalaxError, suggest
from scalax.registry import KINDS, Entry, Kind


def check_plugin(target: str | Path, options: Mapping[str, Any] | None = None) -> list[Report]:
    """Checks all plugins that a target names.

    Args:
        target: A name (``chinchilla``, ``law:chinchilla``, ``tfds:mnist``), the folder of a package
            with its pyproject.toml, installed or not, or a Python file that registers something.
        options: Keys of ``[data]`` that a dataset is opened with, over those of its trial.

    Returns:
        A report for each plugin found, failed ones too.

    Raises:
        ScalaxError: The target is nothing of the kind, or options were given for no dataset.

    Example:
        >>> [report] = check_plugin("law:power-params")
        >>> report.passed, report.lines[0].demand
        (True, 'loads')
    """
    _prepare()
    found = _entries(str(target))
    if options and not any(f.kind == "dataset" for f in found):
        raise ScalaxError("options are for datasets alone", where=f"plugins check {target}")
    return [f if isinstance(f, Report) else _check(f, options or {}) for f in found]


@dataclass(frozen=True)
class _Named:
    """A plugin, and what the user calls it: ``tfds:mnist`` of the entry ``tfds``."""

    entry: Entry
    name: str

    @property
    def kind(self) -> str:
        return self.entry.kind


Found = _Named | Report


def _check(named: _Named, options: Mapping[str, Any]) -> Report:
    entry, name = named.entry, named.name
    checklist, loaded = Checklist(), []

    def loads() -> str:
        loaded.append(entry.load())
        return f"{type(loaded[0]).__module__}:{type(loaded[0]).__qualname__}"

    lines: tuple[Line, ...] = ()
    if checklist.check("loads", loads):
        lines = _lines(entry, loaded[0], name, options)
    return Report(entry.kind, name, entry.origin, (*checklist.lines, *lines))


def _lines(entry: Entry, plugin: Any, name: str, options: Mapping[str, Any]) -> tuple[Line, ...]:
    if entry.kind == "law":
        from scalax.conform.law import check_law

        return check_law(entry, plugin)
    if entry.kind == "model":
        from scalax.conform.model import check_model

        return check_model(entry, plugin)
    from scalax.conform.dataset import check_dataset

    return check_dataset(entry, plugin, name, options)


def _prepare() -> None:
    """Before jax is imported: the CPU, with devices enough for a mesh of two axes."""
    from scalax.devices import prepare

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
    prepare()


def _entries(target: str) -> list[Found]:
    """Returns the plugins that a target names, or a report if it cannot be read."""
    path = Path(target).expanduser()
    if path.is_dir():
        return _of_package(path)
    if path.suffix == ".py" or (os.sep in target and ":" not in target):  # not tfds:SET/CONFIG
        if not path.is_file():
            raise ScalaxError(
                "no such file or folder", where=f"plugins check {target}", fix="check the path"
            )
        return _of_file(path)
    return _of_name(target)


def _of_name(target: str) -> list[Found]:
    prefix, _, rest = target.partition(":")
    kinds: list[Kind] = [kind for kind in KINDS if kind == prefix and rest]
    name = rest if kinds else target
    found: list[Found] = []
    for kind in kinds or KINDS:
        # Without an entry of the whole name, as in tfds:mnist, the part before the colon counts.
        for wanted in (name, name.partition(":")[0]):
            same = [entry for entry in registry.entries(kind) if entry.name == wanted]
            found += [_Named(entry, name) for entry in same]
            if same:
                break
    if not found:
        known = [e.name for kind in kinds or KINDS for e in registry.entries(kind)]
        raise ScalaxError(f"no plugin {target!r}", fix=suggest(name, known))
    return found


def _of_file(path: Path) -> list[Found]:
    before = {(kind, e.name) for kind in KINDS for e in registry.entries(kind)}
    try:
        registry.load_file(path)
    except ScalaxError as error:
        return [Report("file", path.name, str(path), (Line("loads", False, str(error)),))]
    entries = [entry for kind in KINDS for entry in registry.entries(kind)]
    theirs = [e for e in entries if (e.kind, e.name) not in before or e.origin == str(path)]
    return [_Named(entry, entry.name) for entry in theirs]


def _of_package(folder: Path) -> list[Found]:
    """The entry points of a package's pyproject.toml, its modules importable from here on."""
    where = str(folder / "pyproject.toml")
    try:
        project = tomllib.loads(Path(where).read_text(encoding="utf-8")).get("project", {})
    except FileNotFoundError:
        raise ScalaxError(
            "no such file", where=where, fix="give the folder of a package, or a .py file"
        ) from None
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ScalaxError(f"not a TOML file: {error}", where=where) from None
    source = folder / "src" if (folder / "src").is_dir() else folder
    sys.path.insert(0, str(source.resolve()))
    origin = str(project.get("name", folder.name))
    points = project.get("entry-points", {})
    stated = [
        Entry(kind, name, origin, value)
        for kind in KINDS
        for name, value in points.get(f"scalax.{kind}s", {}).items()
    ]
    if not stated:
        raise ScalaxError(
            "registers nothing",
            where=where,
            fix='add [project.entry-points."scalax.laws"], "scalax.models" or "scalax.datasets"',
        )
    found: list[Found] = []
    for entry in stated:
        try:
            registry.register(entry.kind, entry.name, entry.target, origin=origin)
            found.append(_Named(entry, entry.name))
        except ScalaxError as error:
            line = Line("its name is free", False, str(error))
            found.append(Report(entry.kind, entry.name, origin, (line,)))
    return found
