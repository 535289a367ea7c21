"""Checks what plugins of all kinds have: a name, a description and an interface version."""

from __future__ import annotations

from typing import Any

from scalax.conform.report import NotMetError
from scalax.registry import BUILT_IN, INTERFACE, Entry


def says_what_it_is(entry: Entry, plugin: Any, texts: tuple[str, ...]) -> str:
    """Checks the class attributes that every plugin must have.

    Args:
        entry: How it was found.
        plugin: What was loaded.
        texts: Names of the attributes that are words for a reader.

    Raises:
        NotMetError: One is missing or wrong.
    """
    for text in ("name", *texts):
        value = getattr(plugin, text, None)
        if not (isinstance(value, str) and value.strip()):
            raise NotMetError(f"{text} is missing: write {text}: ClassVar[str] = ...")
    if plugin.name != entry.name:
        raise NotMetError(f"registered as {entry.name!r}, but its name is {plugin.name!r}")
    ours = ("scalax", "builtins", "abc", "typing")
    theirs = [c for c in type(plugin).__mro__ if c.__module__.partition(".")[0] not in ours]
    # A family from a function, or a dataset from arrays, has a class of scalax's own version.
    if theirs and entry.origin != BUILT_IN and not any("interface" in vars(c) for c in theirs):
        raise NotMetError(
            f"states no version of the interface: write interface: ClassVar[int] = {INTERFACE}"
        )
    return f"{plugin.title}; interface {plugin.interface}"
