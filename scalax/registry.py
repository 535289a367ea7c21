"""Finds laws, model families and datasets by name: built in, installed, or in a local file.

A plugin is imported only when its name is used or all plugins are listed. A broken plugin never
stops the others: its failure is recorded and reported. The registry knows only the base class of
each kind and the interface versions that are still supported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scalax.errors import JobError, ScalaxError, suggest

Kind = Literal["law", "model", "dataset"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Lazy, in the form entry points use, so that a query imports only the law it asks for.
_BUILT_IN: dict[Kind, dict[str, str]] = {
    "law": {
        "bounded": "scalax.laws.bounded:Bounded",
        "broken-power": "scalax.laws.broken_power:BrokenPower",
        "chinchilla": "scalax.laws.chinchilla:Chinchilla",
        "data-constrained": "scalax.laws.data_constrained:DataConstrained",
        "joint": "scalax.laws.joint:Joint",
        "kaplan": "scalax.laws.kaplan:Kaplan",
        "learning-curve": "scalax.laws.learning_curve:LearningCurve",
        "loss-to-accuracy": "scalax.laws.downstream:LossToAccuracy",
        "loss-to-error": "scalax.laws.downstream:LossToError",
        "m4": "scalax.laws.m4:M4",
        "moe": "scalax.laws.moe:MixtureOfExperts",
        "overtraining": "scalax.laws.overtraining:Overtraining",
        "power-flops": "scalax.laws.power:PowerFlops",
        "power-params": "scalax.laws.power:PowerParams",
        "power-tokens": "scalax.laws.power:PowerTokens",
        "precision": "scalax.laws.precision:Precision",
    },
    "model": {"transformer": "scalax.models.transformer:Transformer"},
    "dataset": {
        "stdlib": "scalax.data.stdlib:Stdlib",
        "text": "scalax.data.text:Text",
        "tfds": "scalax.data.tfds:TfdsText",
    },
}


BUILT_IN = "built-in"
INTERFACE = 1
"""Version of the interfaces of laws, model families and datasets; `interface` of a plugin's class
says which one it was written for, 1 where it says nothing."""
OLDEST_INTERFACE = 1
"""The oldest version that still works."""

_BASES: dict[Kind, tuple[str, str]] = {
    "law": ("scalax.laws.base", "Law"),
    "model": ("scalax.models.base", "ModelFamily"),
    "dataset": ("scalax.data.base", "Dataset"),
}


@dataclass(frozen=True)
class _Clash:
    """Marks a name that two packages claim."""

    origins: str


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        kind: law, model or dataset.
        name: What a user writes.
        origin: ``built-in``, the distribution that installed it, a file's path, or ``registered``.
        target: ``module:attribute`` to import on first use, or the object itself.
    """

    kind: Kind
    name: str
    origin: str
    target: Any

    @property
    def where(self) -> str:
        """The plugin as errors name it."""
        return f"{self.kind} {self.name!r}" + (
            "" if self.origin == BUILT_IN else f" from {self.origin}"
        )

    def load(self) -> Any:
        """Imports the object.

        Raises:
            ScalaxError: The import failed, or what it gave is no such plugin, or one for another
                version of scalax; names the plugin, the entry point and the cause.
        """
        if isinstance(self.target, _Clash):
            raise ScalaxError(
                f"the name is claimed twice, by {self.target.origins}",
                where=f"{self.kind} {self.name!r}",
                fix="uninstall one of them",
            )
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), attribute)
            made = loaded() if isinstance(loaded, type) else loaded
        except (Exception, SystemExit) as error:
            if self.origin == BUILT_IN:
                raise
            raise ScalaxError(
                f"could not load {self.target} ({_cause(error)})",
                where=self.where,
                fix=_remedy(error, self.origin),
            ) from error
        if self.origin != BUILT_IN:
            _check_interface(self, made)
        return made


def _cause(error: BaseException) -> str:
    """An exception in one line; a syntax error with its place."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}, {error.filename}, line {error.lineno}"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _remedy(error: BaseException, origin: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install {error.name.partition('.')[0]!r}, which {origin} needs, or uninstall it"
    return f"repair or uninstall {origin}"


def _check_interface(entry: Entry, made: Any) -> None:
    """Checks that an object is a plugin of its kind and of a supported version."""
    module, base = _BASES[entry.kind]
    if not isinstance(made, getattr(importlib.import_module(module), base)):
        raise ScalaxError(
            f"expected a subclass of sx.{base}, or an instance of one, got {made!r}",
            where=entry.where,
        )
    if getattr(made, "name", None) == "":  # such as that of `sx.arrays`, which registration names
        made.name = entry.name
    version = made.interface
    if not (isinstance(version, int) and OLDEST_INTERFACE <= version <= INTERFACE):
        newer = isinstance(version, int) and version > INTERFACE
        raise ScalaxError(
            f"written for version {version} of sx.{base}; this scalax has version {INTERFACE} and "
            f"reads {OLDEST_INTERFACE} to {INTERFACE}",
            where=entry.where,
            fix="update scalax-laws" if newer else f"update {entry.origin}",
        )
    _loaded[type(made)] = entry


def blame(error: BaseException) -> JobError | None:
    """The plugin in whose code an error arose, as an error that names it.

    Args:
        error: An exception that no one expected, with its traceback.

    Returns:
        One line: the plugin, the cause, and the line of the plugin's file; None where no frame of
        the traceback is in a plugin, so that the fault is scalax's own.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        root = str(frame.f_globals.get("__name__")).partition(".")[0]
        suspects = {t: e for t, e in _loaded.items() if t.__module__.partition(".")[0] == root}
        if suspects:
            own = suspects.get(type(frame.f_locals.get("self")))
            only = next(iter(suspects.values())) if len(suspects) == 1 else None
            entry, code = own or only, frame.f_code
            origin = next(iter(suspects.values())).origin
            return JobError(
                f"failed in {code.co_name} ({_cause(error)}; {code.co_filename}, line {line})",
                where=entry.where if entry else f"plugin {origin}",
                fix="run scalax plugins check for other faults",
            )
    return None


_loaded: dict[type, Entry] = {}
_registered: dict[tuple[Kind, str], Entry] = {}
_files_loading: list[str] = []


def register(kind: Kind, name: str, target: Any, *, origin: str | None = None) -> None:
    """Makes an object known under a name in this process.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: What a user will write.
        target: The object, a class to instantiate, or ``"module:attribute"``.
        origin: Where it comes from, for listings and errors; the file being loaded by default,
            or ``registered``.

    Raises:
        ScalaxError: The kind is unknown, the name is taken by a different object, or this one is
            no such plugin.
    """
    if kind not in KINDS:
        raise ScalaxError(f"unknown kind {kind!r}", where="register", fix=suggest(kind, KINDS))
    origin = origin or (_files_loading[-1] if _files_loading else "registered")
    entry = Entry(kind, name, origin, target)
    taken = _registered.get((kind, name)) or next(
        (other for other in _found(kind) if other.name == name), None
    )
    if taken is not None and taken.origin != origin:
        raise ScalaxError(
            f"the name is taken by {taken.origin}",
            where=entry.where,
            fix="register it under another name",
        )
    if not isinstance(target, str):
        try:
            made = target() if isinstance(target, type) else target
        except Exception as error:
            raise ScalaxError(f"cannot be made ({_cause(error)})", where=entry.where) from error
        _check_interface(entry, made)
        entry = Entry(kind, name, origin, made)
    _registered[kind, name] = entry


def register_own(kind: Kind, name: str, target: Any, module: str) -> None:
    """Registers an object from the module that defines it, unless an entry point names that module.

    A decorated plugin registers itself, so that a local file or a notebook needs no further line.
    In an installed package the entry point already has the name, and stays as it is.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: The name that a user writes.
        target: The object.
        module: Name of the module that defines it.

    Raises:
        ScalaxError: As `register`.
    """
    stated = [
        *(entry for key, entry in _registered.items() if key == (kind, name)),
        *(entry for entry in _found(kind) if entry.name == name),
    ]
    if any(
        isinstance(entry.target, str) and entry.target.partition(":")[0] == module
        for entry in stated
    ):
        return
    register(kind, name, target)


def load_file(path: str | Path) -> None:
    """Runs a local plugin file; it registers what it defines by calling ``sx.register``.

    Args:
        path: A Python file.

    Raises:
        ScalaxError: The file is missing, does not run, or registers nothing.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ScalaxError("no such file", where=f"plugin {path}", fix="give a Python file")
    name = f"scalax_local_{file.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(file):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ScalaxError("not a Python file", where=f"plugin {path}", fix="give a .py file")
    before = set(_registered)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _registering_from(str(path)):
            spec.loader.exec_module(module)
    except ScalaxError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ScalaxError(f"does not run ({_cause(error)})", where=f"plugin {path}") from error
    if set(_registered) == before:
        raise ScalaxError(
            "registers nothing",
            where=f"plugin {path}",
            fix='call sx.register("law" | "model" | "dataset", name, object) in it',
        )


@contextmanager
def _registering_from(origin: str) -> Iterator[None]:
    """Attributes everything registered inside to an origin."""
    _files_loading.append(origin)
    try:
        yield
    finally:
        _files_loading.pop()


def entries(kind: Kind) -> list[Entry]:
    """Lists what is known of one kind, by name, without importing any of it.

    Where a package claims the name of a built-in one, both are listed, the built-in one last: it is
    the one in use.
    """
    found = [e for e in _found(kind) if (kind, e.name) not in _registered]
    found += [e for (k, _), e in _registered.items() if k == kind]
    return sorted(found, key=lambda e: (e.name, e.origin == BUILT_IN))


def find(kind: Kind, name: str) -> Entry:
    """Finds the entry of a name without importing it; see `get`.

    Raises:
        ScalaxError: No such name; the nearest is suggested.
    """
    if (kind, name) in _registered:
        return _registered[kind, name]
    if target := _BUILT_IN[kind].get(name):  # most queries end here, before any installed is read
        return Entry(kind, name, BUILT_IN, target)
    known = {entry.name: entry for entry in entries(kind)}
    entry = known.get(name) or known.get(name.partition(":")[0])
    if entry is None:
        raise ScalaxError(f"unknown {kind} {name!r}", fix=suggest(name, known))
    return entry


def get(kind: Kind, name: str) -> Any:
    """Finds one object by name.

    A dataset's name may carry an argument after a colon (``tfds:mnist``): an entry of the whole
    name wins, else the part before the colon names the entry.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: A registered name.

    Raises:
        ScalaxError: No such name (the nearest is suggested), two plugins share it, or it
            does not load.

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


def _found(kind: Kind) -> list[Entry]:
    """Built-in and installed entries; a name claimed twice is an entry that cannot load."""
    built_in = [Entry(kind, n, BUILT_IN, target) for n, target in _BUILT_IN[kind].items()]
    found: dict[str, Entry] = {}
    points = importlib.metadata.entry_points(group=f"scalax.{kind}s")
    for origin, point in sorted((p.dist.name if p.dist else p.value, p) for p in points):
        other = found.get(point.name)
        holder = BUILT_IN if point.name in _BUILT_IN[kind] else other.origin if other else None
        if holder is None or (other is not None and other.target == point.value):
            found[point.name] = Entry(kind, point.name, origin, point.value)
        else:
            both = f"{holder} and {origin}"
            found[point.name] = Entry(kind, point.name, both, _Clash(both))
    return built_in + list(found.values())
