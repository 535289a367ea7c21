"""Generates command-line options from the fields of a settings class.

Names, types, defaults and help come from the class. Only the text format of mappings and pairs is
defined here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scalax.cli.app import parse_columns
from scalax.errors import ScalaxError

_FLAGS = {"level": "--interval", "fixed": "--fix", "ties": "--tie", "bounds": "--bound"}
"""Options whose name differs from their field."""
_METAVARS = {
    "columns": "OURS=THEIRS,...",
    "drop_worst": "K",
    "bootstrap": "B",
    "fixed": "E=1.69",
    "ties": "alpha=beta",
    "bounds": "E=1:2",
}


def flag_of(name: str) -> str:
    """Returns the option of a field, such as ``--drop-worst``."""
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def settings_options(
    settings: type[BaseModel],
    names: Iterable[str] | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an option for each field of a settings class to a command.

    Args:
        settings: The class; each field has a description.
        names: The fields to add; all of them by default.
        defaults: Defaults of this command that differ from those of the class.
    """
    overrides = dict(defaults or {})
    chosen = list(settings.model_fields if names is None else names)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(chosen):
            field = settings.model_fields[name]
            default = overrides.get(name, field.get_default(call_default_factory=True))
            command = _option(name, field, default)(command)
        return command

    return decorate


def _option(
    name: str, field: FieldInfo, default: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    parsers: dict[str, Callable[[Any], Any]] = {
        "columns": parse_columns,
        "fixed": lambda texts: dict(_pair(text, "--fix", float) for text in texts),
        "ties": lambda texts: tuple(_pair(text, "--tie", str) for text in texts),
        "bounds": lambda texts: dict(_pair(text, "--bound", _span) for text in texts),
    }
    flag, metavar, described = flag_of(name), _METAVARS.get(name), field.description
    if name in parsers:
        parser = parsers[name]
        return click.option(
            flag,
            name,
            multiple=name != "columns",
            default="" if name == "columns" else None,
            metavar=metavar,
            callback=lambda _ctx, _param, value: parser(value),
            help=described,
        )
    if field.annotation is bool:
        switch = f"{flag}/--no-{name}" if default else flag
        return click.option(
            switch, name, is_flag=True, default=default, show_default=default, help=described
        )
    return click.option(
        flag,
        name,
        type=_type(field),
        default=default,
        show_default=True,
        metavar=metavar,
        help=described,
    )


def _type(field: FieldInfo) -> Any:
    if get_origin(field.annotation) is Literal:
        return click.Choice(get_args(field.annotation))
    kind = field.annotation
    limits = {type(limit): limit for limit in field.metadata}
    low, high = limits.get(Gt) or limits.get(Ge), limits.get(Lt) or limits.get(Le)
    if kind not in (int, float) or low is high is None:
        return kind
    least = None if low is None else getattr(low, "gt", getattr(low, "ge", None))
    greatest = None if high is None else getattr(high, "lt", getattr(high, "le", None))
    if kind is int:
        return click.IntRange(least, greatest, isinstance(low, Gt), isinstance(high, Lt))
    return click.FloatRange(least, greatest, isinstance(low, Gt), isinstance(high, Lt))


def _pair(text: str, option: str, parse: Callable[[str], Any]) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        if not (name.strip() and value.strip()):
            raise ValueError
        return name.strip(), parse(value.strip())
    except ValueError:
        example = {flag_of(k): v for k, v in _METAVARS.items()}[option]
        raise ScalaxError(
            f"expected a value like {example}, got {text!r}",
            where=option,
            fix=f"write {option} {example}",
        ) from None


def _span(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    return float(low), float(high)
