"""Checks a user's settings against a pydantic schema, and words what is wrong in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from scalax.errors import ScalaxError, suggest

T = TypeVar("T", bound=BaseModel)


class Settings(BaseModel):
    """The base of every schema: no key but those named, no value converted from text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def parse(schema: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """The values as the schema's model.

    Args:
        schema: A subclass of `Settings`.
        values: What the user wrote.
        where: The section or file they wrote it in, for the error.

    Raises:
        ScalaxError: A key is unknown or missing, or a value is wrong; names the first such key.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise _worded(error.errors(), schema, where) from None


def _worded(errors: list[ErrorDetails], schema: type[BaseModel], where: str) -> ScalaxError:
    """The first key at fault, unknown keys before others; a union's members are one key."""
    by_key: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for error in sorted(errors, key=lambda e: e["type"] != "extra_forbidden"):
        path = tuple(part for part in error["loc"] if not _is_tag(part))
        by_key.setdefault(path, []).append(error)
    # Where a union took a section, what is wrong within it says more than that it is no "auto".
    inner = {k: v for k, v in by_key.items() if not any(o[: len(k)] == k != o for o in by_key)}
    by_key = inner or by_key
    path, found = next(iter(by_key.items()))
    more = f" (and {len(by_key) - 1} more keys)" if len(by_key) > 1 else ""
    key = ""
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    place = (
        f"{where}: {key}"
        if where.endswith((".toml", ".json"))
        else f"{where}.{key}"
        if key
        else where
    )
    kind = found[0]["type"]
    if kind == "extra_forbidden":
        known = _fields_at(schema, path[:-1])
        return ScalaxError("unknown key" + more, where=place, fix=suggest(str(path[-1]), known))
    if kind == "missing":
        return ScalaxError("missing" + more, where=place, fix=f"add {path[-1]} = ...")
    expected = " or ".join(
        e["msg"].removeprefix("Value error, ").removeprefix("Input should be ") for e in found
    )
    return ScalaxError(f"expected {expected}, got {found[0]['input']!r}{more}", where=place)


def _fields_at(schema: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        field = schema.model_fields.get(str(part))
        kind = field.annotation if field else None
        options = [kind, *getattr(kind, "__args__", ())]
        inner = [k for k in options if isinstance(k, type) and issubclass(k, BaseModel)]
        if not inner:
            return []
        schema = inner[0]
    return list(schema.model_fields)


def _is_tag(part: int | str) -> bool:
    """Pydantic puts the name of the union's member in the path; a user never wrote it."""
    return isinstance(part, str) and (
        part in ("float", "int", "str", "bool", "dict", "grid", "isoflop", "list")
        or part.startswith(("constrained-", "function-"))
        or "[" in part
    )
