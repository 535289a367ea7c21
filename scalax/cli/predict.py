"""`scalax predict`: the loss at given sizes and token counts."""

from __future__ import annotations

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table
from scalax.cli.choose_fit import chosen, fit_options
from scalax.errors import ScalaxError


@click.command(epilog="Example: scalax predict --law hoffmann2022 --params 70e9 --tokens 1.4e12")
@fit_options
@click.option("--params", type=float, metavar="N", help="Model parameters.")
@click.option("--tokens", type=float, metavar="D", help="Training tokens.")
@click.option("--points", metavar="CSV", help="A table with columns params and tokens.")
@columns_option
@json_option
@plugin_option
def predict(
    fit_file: str | None,
    law: str | None,
    params: float | None,
    tokens: float | None,
    points: str | None,
    columns: dict[str, str],
    as_json: bool,
) -> None:
    """Forecast the loss at one point, or at each point of a table."""
    found = chosen(fit_file, law)
    if points is not None:
        if params is not None or tokens is not None:
            raise ScalaxError("expected --points or --params and --tokens, got both")
        from scalax.runs.read import positive_column, read_table, rename

        at = rename(read_table(points), columns)
        answers = found.predict(
            params=positive_column(at, "params"), tokens=positive_column(at, "tokens")
        )
    elif params is not None and tokens is not None:
        answers = [found.predict(params=params, tokens=tokens)]
    else:
        raise ScalaxError(
            "expected --params and --tokens, or --points", fix="write --params 7e9 --tokens 1.4e12"
        )
    if as_json:
        print_json([answer.to_json() for answer in answers])
        return
    table(
        ["params", "tokens", "flops", "loss", f"{found.level:.0%} interval"],
        (
            [
                *(f"{value:.4g}" for value in (a.params, a.tokens, a.flops)),
                f"{a.loss:.5g}",
                "unknown" if a.low is None else f"{a.low:.5g} to {a.high:.5g}",
            ]
            for a in answers
        ),
    )
