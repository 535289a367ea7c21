"""``--set section.key=value``: settings that the command line changes in an experiment."""

from __future__ import annotations

import tomllib
from typing import Any

from scalax.errors import ScalaxError


def apply_override(values: dict[str, Any], override: str) -> None:
    """Changes one setting of an experiment that was read from TOML.

    Args:
        values: The sections of the file; changed in place.
        override: ``section.key=value``, the value in TOML.

    Raises:
        ScalaxError: The text is not of this form, or the value is not TOML.
    """
    key, equals, text = override.partition("=")
    path = _key_path(key)
    if not equals or not path:
        raise ScalaxError(
            f"expected section.key=value, got {override!r}",
            where="--set",
            fix='write --set "sweep.params=[2e4, 4e4]"',
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ScalaxError(
            f"expected a TOML value, got {text!r}",
            where=f"--set {key}",
            fix=f"write --set '{key}=\"{text}\"' for text",
        ) from None
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ScalaxError(
                f"{part} is not a section",
                where=f"--set {key}",
                fix="write SECTION.KEY=VALUE, such as train.batch=16",
            )
    values[path[-1]] = value


def _key_path(key: str) -> list[str]:
    """Returns the parts of a dotted TOML key; an empty list if it is not one."""
    try:
        value: Any = tomllib.loads(f"{key} = true")
    except tomllib.TOMLDecodeError:
        return []
    path = []
    while isinstance(value, dict) and len(value) == 1:
        ((part, value),) = value.items()
        path.append(part)
    return path if value is True else []
