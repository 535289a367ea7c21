"""The pair of options that name a law with coefficients: ``--fit FILE`` or ``--law PUBLISHED``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from scalax.errors import ScalaxError
from scalax.predict.fit_result import Fit, published_fit, read_fit


def fit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--fit`` and ``--law``; pass both on to `chosen`."""
    command = click.option(
        "--law", metavar="PUBLISHED", help="A published law, such as hoffmann2022."
    )(command)
    return click.option(
        "--fit", "fit_file", metavar="FILE", help="A fit.json that scalax fit wrote."
    )(command)


def chosen(fit_file: str | None, law: str | None) -> Fit:
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
