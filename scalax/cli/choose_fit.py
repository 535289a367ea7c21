"""The pair of options that name a law with coefficients: ``--fit FILE`` or ``--law PUBLISHED``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scalax.errors import ScalaxError
from scalax.predict.protocol import LossLaw, ScalingLaw
from scalax.predict.published_law import published_fit
from scalax.predict.read_fit import read_fit


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--fit`` and ``--law``; pass both on to `chosen`."""
    command = click.option(
        "--law", metavar="PUBLISHED", help="A published law, such as hoffmann2022."
    )(command)
    return click.option(
        "--fit", "fit_file", metavar="FILE", help="A fit.json that scalax fit wrote."
    )(command)


def chosen(fit_file: str | None, law: str | None) -> ScalingLaw:
    """The one law that the options name.

    Raises:
        ScalaxError: None or both are given, or it cannot be read.
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
    """What one ``--law NAME|FIT.json`` names: a file where it ends in .json, else a published law.

    Raises:
        ScalaxError: No such law, or the file is no fit.
    """
    return read_fit(law) if law.endswith(".json") else published_fit(law)


def loss_law(found: ScalingLaw) -> LossLaw:
    """The law of the loss in what was chosen.

    Raises:
        ScalaxError: It is a published law without one.
    """
    return found.require_loss()


def given_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--given name=value,...``, passed to the command as a dictionary of numbers."""
    return click.option(
        "--given",
        default="",
        metavar="NAME=VALUE,...",
        callback=lambda ctx, param, value: _numbers(value),
        help="Other columns that the law reads, such as unique_tokens=1e11 or sparsity=0.9.",
    )(command)


def _numbers(text: str) -> dict[str, float]:
    found = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in pair.partition("="))
        try:
            found[name] = float(value)
        except ValueError:
            raise ScalaxError(
                f"expected NAME=VALUE, got {pair!r}",
                where="--given",
                fix="write --given unique_tokens=1e11",
            ) from None
        if name in ("params", "tokens", "flops") or not name:
            raise ScalaxError(
                f"expected another column than {name!r}", where="--given", fix=f"write --{name}"
            )
    return found
