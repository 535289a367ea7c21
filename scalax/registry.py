"""Finds laws, model families and datasets by name: built in, installed, or in a local file.

It imports a plugin only when its name is asked for (or all are listed), and a broken plugin
never stops the others: its failure is kept and told. It knows nothing of what the objects do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from scalax.errors import ScalaxError, suggest

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


@dataclass(frozen=True)
class _Clash:
    """Stands where two packages claim one name."""

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

    def load(self) -> Any:
        """Imports the object.

        Raises:
            ScalaxError: The import failed; names the plugin, the entry point and the cause.
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
        except Exception as error:
            raise ScalaxError(
                f"could not load {self.target} ({type(error).__name__}: {error})",
                where=f"{self.kind} {self.name!r} from {self.origin}",
                fix=f"repair or uninstall {self.origin}",
            ) from error
        return loaded() if isinstance(loaded, type) else loaded


_registered: dict[tuple[Kind, str], Entry] = {}


def register(kind: Kind, name: str, target: Any, *, origin: str = "registered") -> None:
    """Makes an object known under a name in this process.

    Args:
        kind: ``"law"``, ``"model"`` or ``"dataset"``.
        name: What a user will write.
        target: The object, a class to instantiate, or ``"module:attribute"``.
        origin: Where it comes from, for listings and errors.

    Raises:
        ScalaxError: The kind is unknown, or the name is taken by a different object.
    """
    if kind not in KINDS:
        raise ScalaxError(f"unknown kind {kind!r}", where="register", fix=suggest(kind, KINDS))
    entry = Entry(kind, name, origin, target() if isinstance(target, type) else target)
    taken = _registered.get((kind, name))
    if taken is None and (other := _found(kind).get(name)):
        taken = other
    if taken is not None and taken.origin != origin:
        raise ScalaxError(
            f"the name is taken by {taken.origin}",
            where=f"{kind} {name!r} from {origin}",
            fix="register it under another name",
        )
    _registered[kind, name] = entry


def load_file(path: str | Path) -> None:
    """Runs a local plugin file; it registers what it defines by calling ``sx.register``.

    Args:
        path: A Python file.

    Raises:
        ScalaxError: The file is missing, does not run, or registers nothing.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ScalaxError("no such file", where=f"--plugin {path}", fix="give a Python file")
    name = f"scalax_local_{file.stem}"
    if getattr(sys.modules.get(name), "__file__", None) == str(file):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ScalaxError("not a Python file", where=f"--plugin {path}", fix="give a .py file")
    before = set(_registered)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ScalaxError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise ScalaxError(
            f"does not run ({type(error).__name__}: {error})", where=f"--plugin {path}"
        ) from error
    if set(_registered) == before:
        raise ScalaxError(
            "registers nothing",
            where=f"--plugin {path}",
            fix='call sx.register("law" | "model" | "dataset", name, object) in it',
        )


def entries(kind: Kind) -> list[Entry]:
    """Lists what is known of one kind, by name, without importing any of it."""
    found = _found(kind) | {e.name: e for (k, _), e in _registered.items() if k == kind}
    return [found[name] for name in sorted(found)]


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
    if (kind, name) in _registered:
        return _registered[kind, name].load()
    if target := _BUILT_IN[kind].get(name):  # most queries end here, before any installed is read
        return Entry(kind, name, "built-in", target).load()
    known = {entry.name: entry for entry in entries(kind)}
    entry = known.get(name) or known.get(name.partition(":")[0])
    if entry is None:
        raise ScalaxError(f"unknown {kind} {name!r}", fix=suggest(name, known))
    return entry.load()


def _found(kind: Kind) -> dict[str, Entry]:
    """Built-in and installed entries by name; one claimed twice is an entry that cannot load."""
    found = {n: Entry(kind, n, "built-in", target) for n, target in _BUILT_IN[kind].items()}
    for point in importlib.metadata.entry_points(group=f"scalax.{kind}s"):
        origin = point.dist.name if point.dist else point.value
        other = found.get(point.name)
        if other is not None and other.target != point.value:
            both = f"{other.origin} and {origin}"
            found[point.name] = Entry(kind, point.name, both, _Clash(both))
        else:
            found[point.name] = Entry(kind, point.name, origin, point.value)
    return found
