"""Options that choose a law with coefficients: ``--fit FILE`` or ``--law PUBLISHED``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scalax.errors import ScalaxError
from scalax.predict.protocol import ScalingLaw
from scalax.predict.published_law import published_fit
from scalax.predict.read_fit import read_fit


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--fit`` and ``--law``; `chosen_law` reads the law that they name."""
    command = click.option(
        "--law", metavar="PUBLISHED", help="A published law, such as hoffmann2022."
    )(command)
    return click.option(
        "--fit", "fit_file", metavar="FILE", help="A fit.json that scalax fit wrote."
    )(command)


def chosen_law(fit_file: str | None, law: str | None) -> ScalingLaw:
    """Returns the law that the options name.

    Raises:
        ScalaxError: Neither or both are given, no such law exists, or the file cannot be read.
    """
    if fit_file is not None and law is not None:
        raise ScalaxError("expected one of --fit and --law, got both", fix="leave one out")
    if fit_file is not None:
        return read_fit(fit_file)
    if law is not None:
        return published_fit(law)
    raise ScalaxError(
        "expected --fit FILE or --law PUBLISHED",
        fix="write --law hoffmann2022, or fit your own runs: scalax fit runs.csv --out fit.json",
    )


def law_or_file(law: str) -> ScalingLaw:
    """Returns the law that ``--law NAME|FIT.json`` names: a fit if it ends in .json.

    Raises:
        ScalaxError: No such law exists, or the file is not a fit.
    """
    return read_fit(law) if law.endswith(".json") else published_fit(law)


def given_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--given name=value,...``, passed to the command as a dictionary of numbers."""
    return click.option(
        "--given",
        default="",
        metavar="NAME=VALUE,...",
        callback=lambda ctx, param, value: _numbers(value),
        help="The law's other columns, such as unique_tokens=1e11 or sparsity=0.9.",
    )(command)


def _numbers(text: str) -> dict[str, float]:
    numbers = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in pair.partition("="))
        try:
            numbers[name] = float(value)
        except ValueError:
            raise ScalaxError(
                f"expected NAME=VALUE, got {pair!r}",
                where="--given",
                fix="write --given unique_tokens=1e11",
            ) from None
        if name in ("params", "tokens", "flops") or not name:
            raise ScalaxError(
                f"expected a column other than params, tokens and flops, got {name!r}",
                where="--given",
                fix=f"write --{name}" if name else "write --given unique_tokens=1e11",
            )
    return numbers
