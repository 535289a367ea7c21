"""Checks a user's settings against a pydantic schema and reports the first problem in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from scalax.errors import ScalaxError, suggest

T = TypeVar("T", bound=BaseModel)


class Settings(BaseModel):
    """Base of all schemas: unknown keys are errors, and values are not converted from text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def parse(schema: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Returns the values as an instance of the schema.

    Args:
        schema: A subclass of `Settings`.
        values: The user's keys and values.
        where: The section or file of the values, for errors.

    Raises:
        ScalaxError: A key is unknown or missing, or a value is invalid; names the first such key.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        raise _first_problem(error.errors(), schema, where) from None


def _first_problem(errors: list[ErrorDetails], schema: type[BaseModel], where: str) -> ScalaxError:
    """Reports the first invalid key, unknown keys first; alternatives of a union are one key."""
    by_key: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for error in sorted(errors, key=lambda e: e["type"] != "extra_forbidden"):
        path = tuple(part for part in error["loc"] if not _is_tag(part))
        by_key.setdefault(path, []).append(error)
    # For a union with a section, a problem inside the section says more than one at its key.
    innermost = {k: v for k, v in by_key.items() if not any(o[: len(k)] == k != o for o in by_key)}
    by_key = innermost or by_key
    path, problems = next(iter(by_key.items()))
    more = f" (and {len(by_key) - 1} more keys)" if len(by_key) > 1 else ""
    location = _location(where, path)
    kind = problems[0]["type"]
    if kind == "extra_forbidden":
        known = _fields_at(schema, path[:-1])
        return ScalaxError("unknown key" + more, where=location, fix=suggest(str(path[-1]), known))
    if kind == "missing":
        return ScalaxError("missing key" + more, where=location, fix=f"add {path[-1]} = ...")
    expected = " or ".join(dict.fromkeys(_expected(problem) for problem in problems))
    return ScalaxError(
        f"expected {expected}, got {_shown(problems[0]['input'])}{more}", where=location
    )


def _location(where: str, path: Sequence[int | str]) -> str:
    """Returns the section or file with the key, such as ``train.batch``."""
    key = ""
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    if where.endswith((".toml", ".json")):
        return f"{where}: {key}"
    return f"{where}.{key}" if key else where


_TYPES = {
    "bool_type": "true or false",
    "date_type": "a date",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a table",
    "model_type": "a table",
    "string_type": "a string",
    "tuple_type": "a list",
}
"""Plain words for the expected value, by pydantic's error type."""
_BOUNDS = {
    "greater_than": ("a number greater than", "gt"),
    "greater_than_equal": ("a number of at least", "ge"),
    "less_than": ("a number less than", "lt"),
    "less_than_equal": ("a number of at most", "le"),
}


def _expected(problem: ErrorDetails) -> str:
    """Describes the expected value of a key in plain words."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _BOUNDS:
        words, limit = _BOUNDS[kind]
        return f"{words} {context[limit]:g}"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return f"at least {least} value{'s' * (least != 1)}"
    return problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _shown(value: Any) -> str:
    """Shows a value as a user writes it, without the classes of NumPy or of the TOML reader."""
    if hasattr(value, "unwrap"):
        value = value.unwrap()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def _fields_at(schema: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Returns the keys of the section at a path."""
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
    """Returns whether a part of pydantic's path names a member of a union, not a user's key."""
    return isinstance(part, str) and (
        part in ("float", "int", "str", "bool", "dict", "grid", "isoflop", "list")
        or part.startswith(("constrained-", "function-"))
        or "[" in part
    )
