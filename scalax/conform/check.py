"""Finds the plugins that a target names, and checks each of them.

A target is a registered name, the folder of a package, or one Python file.
"""

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
            with a pyproject.toml, installed or not, or a Python file that registers a plugin.
        options: Keys of ``[data]`` to open a dataset with; they override those of its ``trial``.

    Returns:
        One report for each plugin, including plugins that fail to load.

    Raises:
        ScalaxError: The target names no plugin, or options were given without a dataset.

    Example:
        >>> [report] = check_plugin("law:power-params")
        >>> report.passed, report.lines[0].demand
        (True, 'loads')
    """
    _prepare_devices()
    plugins = _resolve(str(target))
    if options and not any(plugin.kind == "dataset" for plugin in plugins):
        raise ScalaxError(
            "options apply to datasets only", where=f"plugins check {target}", fix="leave out --set"
        )
    return [p if isinstance(p, Report) else _check(p, options or {}) for p in plugins]


@dataclass(frozen=True)
class _Target:
    """A plugin's entry and the name that the user wrote, such as ``tfds:mnist`` for ``tfds``."""

    entry: Entry
    name: str

    @property
    def kind(self) -> str:
        return self.entry.kind


def _check(target: _Target, options: Mapping[str, Any]) -> Report:
    entry, name = target.entry, target.name
    checklist = Checklist()
    plugin: Any = None

    def loads() -> str:
        nonlocal plugin
        plugin = entry.load()
        if isinstance(entry.target, str):
            return entry.target
        return f"{type(plugin).__module__}:{type(plugin).__qualname__}"

    lines: tuple[Line, ...] = ()
    if checklist.check("loads", loads):
        lines = _check_kind(entry, plugin, name, options)
    return Report(entry.kind, name, entry.origin, (*checklist.lines, *lines))


def _check_kind(
    entry: Entry, plugin: Any, name: str, options: Mapping[str, Any]
) -> tuple[Line, ...]:
    if entry.kind == "law":
        from scalax.conform.law import check_law

        return check_law(entry, plugin)
    if entry.kind == "model":
        from scalax.conform.model import check_model

        return check_model(entry, plugin)
    from scalax.conform.dataset import check_dataset

    return check_dataset(entry, plugin, name, options)


def _prepare_devices() -> None:
    """Selects the CPU with four devices, enough for a mesh of two axes, before jax is imported."""
    from scalax.devices import prepare

    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
    prepare()


def _resolve(target: str) -> list[_Target | Report]:
    """Returns the plugins that a target names; a failed report for one that cannot be read."""
    path = Path(target).expanduser()
    if path.is_dir():
        return _resolve_package(path)
    if path.suffix == ".py" or (os.sep in target and ":" not in target):  # not tfds:SET/CONFIG
        if not path.is_file():
            raise ScalaxError(
                "no such file or folder", where=f"plugins check {target}", fix="correct the path"
            )
        return _resolve_file(path)
    return _resolve_name(target)


def _resolve_name(target: str) -> list[_Target | Report]:
    prefix, _, rest = target.partition(":")
    kinds: list[Kind] = [kind for kind in KINDS if kind == prefix and rest]
    name = rest if kinds else target
    plugins: list[_Target | Report] = []
    for kind in kinds or KINDS:
        # Without an entry of the whole name, as in tfds:mnist, the part before the colon counts.
        for wanted in (name, name.partition(":")[0]):
            same = [entry for entry in registry.entries(kind) if entry.name == wanted]
            plugins += [_Target(entry, name) for entry in same]
            if same:
                break
    if not plugins:
        known = [e.name for kind in kinds or KINDS for e in registry.entries(kind)]
        raise ScalaxError(f"no plugin {target!r}", fix=suggest(name, known))
    return plugins


def _resolve_file(path: Path) -> list[_Target | Report]:
    before = {(kind, e.name) for kind in KINDS for e in registry.entries(kind)}
    try:
        registry.load_file(path)
    except ScalaxError as error:
        return [Report("file", path.name, str(path), (Line("loads", False, str(error)),))]
    entries = [entry for kind in KINDS for entry in registry.entries(kind)]
    added = [e for e in entries if (e.kind, e.name) not in before or e.origin == str(path)]
    return [_Target(entry, entry.name) for entry in added]


def _resolve_package(folder: Path) -> list[_Target | Report]:
    """Registers the entry points of a package's pyproject.toml and makes them importable."""
    where = str(folder / "pyproject.toml")
    try:
        project = tomllib.loads(Path(where).read_text(encoding="utf-8")).get("project", {})
    except FileNotFoundError:
        raise ScalaxError(
            "no such file", where=where, fix="give the folder of a package, or a .py file"
        ) from None
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ScalaxError(
            f"not a TOML file: {error}", where=where, fix="correct its syntax"
        ) from None
    source = folder / "src" if (folder / "src").is_dir() else folder
    sys.path.insert(0, str(source.resolve()))
    origin = str(project.get("name", folder.name))
    points = project.get("entry-points", {})
    entries = [
        Entry(kind, name, origin, value)
        for kind in KINDS
        for name, value in points.get(f"scalax.{kind}s", {}).items()
    ]
    if not entries:
        raise ScalaxError(
            "registers nothing",
            where=where,
            fix='add [project.entry-points."scalax.laws"], "scalax.models" or "scalax.datasets"',
        )
    plugins: list[_Target | Report] = []
    for entry in entries:
        try:
            registry.register(entry.kind, entry.name, entry.target, origin=origin)
            plugins.append(_Target(entry, entry.name))
        except ScalaxError as error:
            line = Line("name is free", False, str(error))
            plugins.append(Report(entry.kind, entry.name, origin, (line,)))
    return plugins
