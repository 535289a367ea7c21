"""Registers names and finds their entries."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scalax.errors import ScalaxError, suggest
from scalax.registry.built_in import BUILT_IN, KINDS, TARGETS, Kind
from scalax.registry.entry import Entry, NameConflict, check_interface, summary

_registered: dict[tuple[Kind, str], Entry] = {}
_files_loading: list[str] = []


def register(kind: Kind, name: str, target: Any, *, origin: str | None = None) -> None:
    """Registers a law, model family or dataset under a name, in this process.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: The name that a user writes.
        target: The object, a class to instantiate, or ``"module:attribute"``.
        origin: The source of the plugin, for listings and errors. By default the file that is
            being loaded, or ``registered``.

    Raises:
        ScalaxError: The kind is unknown, another plugin has the name, or the target is not a
            plugin of this kind.
    """
    if kind not in KINDS:
        raise ScalaxError(f"unknown kind {kind!r}", where="register", fix=suggest(kind, KINDS))
    origin = origin or (_files_loading[-1] if _files_loading else "registered")
    entry = Entry(kind, name, origin, target)
    existing = _registered.get((kind, name)) or next(
        (other for other in _built_in_and_installed(kind) if other.name == name), None
    )
    if existing is not None and existing.origin != origin:
        raise ScalaxError(
            f"the name is taken by {existing.origin}",
            where=entry.where,
            fix="register it under another name",
        )
    if not isinstance(target, str):
        try:
            plugin = target() if isinstance(target, type) else target
        except Exception as error:
            raise ScalaxError(
                f"could not create an instance ({summary(error)})", where=entry.where
            ) from error
        check_interface(entry, plugin)
        entry = Entry(kind, name, origin, plugin)
    _registered[kind, name] = entry


def register_own(kind: Kind, name: str, target: Any, module: str) -> None:
    """Registers an object from its own module, unless an entry point already names that module.

    A decorator such as `sx.family` calls it, so that a local file or a notebook needs no call of
    `register`. The entry point of an installed package takes precedence.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: The name that a user writes.
        target: The object.
        module: Name of the module that defines it.

    Raises:
        ScalaxError: As `register`.
    """
    same_name = [
        *(entry for key, entry in _registered.items() if key == (kind, name)),
        *(entry for entry in _built_in_and_installed(kind) if entry.name == name),
    ]
    if any(
        isinstance(entry.target, str) and entry.target.partition(":")[0] == module
        for entry in same_name
    ):
        return
    register(kind, name, target)


def registered_names() -> set[tuple[Kind, str]]:
    """Returns kind and name of everything that `register` added in this process."""
    return set(_registered)


@contextmanager
def registering_from(origin: str) -> Iterator[None]:
    """Sets the default origin of objects registered inside the ``with`` block."""
    _files_loading.append(origin)
    try:
        yield
    finally:
        _files_loading.pop()


def entries(kind: Kind) -> list[Entry]:
    """Lists the entries of one kind, sorted by name, without importing any plugin.

    If a package registers the name of a built-in plugin, both are listed. The built-in entry is
    the later one, and the one in use.
    """
    result = [e for e in _built_in_and_installed(kind) if (kind, e.name) not in _registered]
    result += [e for (k, _), e in _registered.items() if k == kind]
    return sorted(result, key=lambda e: (e.name, e.origin == BUILT_IN))


def find(kind: Kind, name: str) -> Entry:
    """Finds the entry of a name without importing the plugin.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: A registered name; see `get`.

    Raises:
        ScalaxError: No entry has the name; the nearest name is suggested.
    """
    if (kind, name) in _registered:
        return _registered[kind, name]
    if target := TARGETS[kind].get(name):  # most queries end here, before entry points are read
        return Entry(kind, name, BUILT_IN, target)
    known = {entry.name: entry for entry in entries(kind)}
    entry = known.get(name) or known.get(name.partition(":")[0])
    if entry is None:
        raise ScalaxError(f"unknown {kind} {name!r}", fix=suggest(name, known))
    return entry


def get(kind: Kind, name: str) -> Any:
    """Finds a plugin by name and loads it.

    The name of a dataset may have an argument after a colon (``tfds:mnist``). If no entry has the
    whole name, the part before the colon is looked up.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: A registered name.

    Raises:
        ScalaxError: No entry has the name (the nearest is suggested), two packages register it,
            or the plugin fails to load.

    Example:
        >>> get("law", "chinchilla").name
        'chinchilla'
    """
    return find(kind, name).load()


def describe(kind: Kind, name: str) -> str:
    """Returns a plugin's kind, name and, if known, origin, as errors state them."""
    try:
        return find(kind, name).where
    except ScalaxError:
        return f"{kind} {name!r}"


def _built_in_and_installed(kind: Kind) -> list[Entry]:
    """Lists built-in entries and entry points; a name registered twice becomes a conflict."""
    built_in = [Entry(kind, name, BUILT_IN, target) for name, target in TARGETS[kind].items()]
    installed: dict[str, Entry] = {}
    points = importlib.metadata.entry_points(group=f"scalax.{kind}s")
    for origin, point in sorted((p.dist.name if p.dist else p.value, p) for p in points):
        earlier = installed.get(point.name)
        owner = BUILT_IN if point.name in TARGETS[kind] else earlier.origin if earlier else None
        if owner is None or (earlier is not None and earlier.target == point.value):
            installed[point.name] = Entry(kind, point.name, origin, point.value)
        else:
            both = f"{owner} and {origin}"
            installed[point.name] = Entry(kind, point.name, both, NameConflict(both))
    return built_in + list(installed.values())
