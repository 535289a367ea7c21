"""Checks the attributes that plugins of all kinds have: a name, texts and an interface version."""

from __future__ import annotations

from typing import Any

from scalax.conform.report import CheckFailedError
from scalax.registry import BUILT_IN, INTERFACE, Entry


def check_attributes(entry: Entry, plugin: Any, texts: tuple[str, ...]) -> str:
    """Checks the class attributes that every plugin must declare.

    Args:
        entry: The plugin's entry in the registry.
        plugin: The loaded plugin.
        texts: Attributes that hold text for a reader, such as ``title``.

    Returns:
        The title and the interface version.

    Raises:
        CheckFailedError: An attribute is missing or wrong.
    """
    for text in ("name", *texts):
        value = getattr(plugin, text, None)
        if not (isinstance(value, str) and value.strip()):
            raise CheckFailedError(
                f"{text} is missing (expected a text, got {value!r})",
                fix=f"write {text}: ClassVar[str] = ... in the class",
            )
    if plugin.name != entry.name:
        raise CheckFailedError(
            f"registered as {entry.name!r}, but its name is {plugin.name!r}",
            fix="use the same name in both places",
        )
    ours = ("scalax", "builtins", "abc", "typing")
    own_classes = [c for c in type(plugin).__mro__ if c.__module__.partition(".")[0] not in ours]
    # sx.family and sx.arrays return objects of scalax's own classes, which have a version.
    stated = any("interface" in vars(c) for c in own_classes)
    if own_classes and entry.origin != BUILT_IN and not stated:
        raise CheckFailedError(
            "the class does not state the interface version it was written for",
            fix=f"write interface: ClassVar[int] = {INTERFACE} in the class",
        )
    return f"{plugin.title}; interface {plugin.interface}"
