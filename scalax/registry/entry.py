"""One registered name: how it loads, and the check of the loaded object."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError
from scalax.registry.built_in import BUILT_IN, Kind

INTERFACE = 1
"""Current version of the interfaces of laws, model families and datasets.

The class attribute ``interface`` of a plugin is the version that it was written for, by default 1.
"""
OLDEST_INTERFACE = 1
"""Oldest version that is supported."""

_BASES: dict[Kind, tuple[str, str]] = {
    "law": ("scalax.laws.base", "Law"),
    "model": ("scalax.models.base", "ModelFamily"),
    "dataset": ("scalax.data.base", "Dataset"),
}

LOADED: dict[type, Entry] = {}
"""Entry of each plugin class that was loaded in this process, for naming a plugin that fails."""


@dataclass(frozen=True)
class NameConflict:
    """Target of a name that two packages register."""

    origins: str


@dataclass(frozen=True)
class Entry:
    """One registered name.

    Attributes:
        kind: law, model or dataset.
        name: The name that a user writes.
        origin: ``built-in``, the distribution that installed it, a file's path, or ``registered``.
        target: ``module:attribute`` to import on first use, or the object itself.
    """

    kind: Kind
    name: str
    origin: str
    target: Any

    @property
    def where(self) -> str:
        """Kind, name and origin, as errors state them."""
        return f"{self.kind} {self.name!r}" + (
            "" if self.origin == BUILT_IN else f" from {self.origin}"
        )

    def load(self) -> Any:
        """Imports the object, and instantiates it if it is a class.

        Raises:
            ScalaxError: The import failed, the object is not a plugin of this kind, or its
                interface version is not supported. Names the plugin, the target and the cause.
        """
        if isinstance(self.target, NameConflict):
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
            plugin = loaded() if isinstance(loaded, type) else loaded
        except (Exception, SystemExit) as error:
            if self.origin == BUILT_IN:
                raise
            raise ScalaxError(
                f"could not load {self.target} ({summary(error)})",
                where=self.where,
                fix=_load_fix(error, self.origin),
            ) from error
        if self.origin != BUILT_IN:
            check_interface(self, plugin)
        return plugin


def check_interface(entry: Entry, plugin: Any) -> None:
    """Checks that an object is a plugin of its kind with a supported interface version.

    Raises:
        ScalaxError: It is not.
    """
    module, base = _BASES[entry.kind]
    if not isinstance(plugin, getattr(importlib.import_module(module), base)):
        raise ScalaxError(
            f"expected a subclass of sx.{base}, or an instance of one, got {plugin!r}",
            where=entry.where,
            fix=f"register a subclass of sx.{base}",
        )
    if getattr(plugin, "name", None) == "":  # `sx.arrays` leaves the name to the registration
        plugin.name = entry.name
    version = plugin.interface
    if not (isinstance(version, int) and OLDEST_INTERFACE <= version <= INTERFACE):
        newer = isinstance(version, int) and version > INTERFACE
        raise ScalaxError(
            f"unsupported version of the sx.{base} interface "
            f"(expected {OLDEST_INTERFACE} to {INTERFACE}, got {version})",
            where=entry.where,
            fix="update scalax-laws" if newer else f"update {entry.origin}",
        )
    LOADED[type(plugin)] = entry


def summary(error: BaseException) -> str:
    """Returns an exception as one line; a syntax error with its file and line."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}, {error.filename}, line {error.lineno}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _load_fix(error: BaseException, origin: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install {error.name.partition('.')[0]!r}, which {origin} needs, or uninstall it"
    return f"repair or uninstall {origin}"
