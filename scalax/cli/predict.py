"""`scalax predict`: forecasts the loss, or a downstream metric, at given sizes and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table, warn
from scalax.cli.choose_fit import chosen_law, fit_options, given_option
from scalax.errors import ScalaxError
from scalax.predict.columns import assumptions, given_columns

if TYPE_CHECKING:
    from scalax.predict.protocol import LossLaw
    from scalax.runs.table import Runs


@click.command(
    epilog="""\b
Examples:
  scalax predict --law hoffmann2022 --params 70e9 --tokens 1.4e12
  scalax predict --fit fit.json --points points.csv --json"""
)
@fit_options
@click.option("--params", type=float, metavar="N", help="Model parameters.")
@click.option("--tokens", type=float, metavar="D", help="Training tokens.")
@click.option(
    "--points", metavar="CSV", help="Table of points, with the columns that the law reads."
)
@given_option
@click.option(
    "--then",
    "metric_file",
    metavar="FILE",
    help="A fit.json from loss to a downstream metric; also forecast this metric.",
)
@click.option(
    "--bytes-per-token",
    type=float,
    metavar="B",
    help="Bytes of text in a token; give losses in bits per byte.",
)
@columns_option
@json_option
@plugin_option
def predict(
    fit_file: str | None,
    law: str | None,
    params: float | None,
    tokens: float | None,
    points: str | None,
    given: dict[str, float],
    metric_file: str | None,
    bytes_per_token: float | None,
    columns: dict[str, str],
    as_json: bool,
) -> None:
    """Forecast the loss at one point, or at each point of a table."""
    fit = chosen_law(fit_file, law).require_loss()
    form = fit.form
    required = [name for name in form.columns if name not in form.assumed]
    # Rejects columns that the law does not read; `predict` checks the values of the others.
    given_columns(form, {k: v for k, v in given.items() if k not in form.columns})
    if points is not None:
        if params is not None or tokens is not None:
            raise ScalaxError("expected --points or --params and --tokens, got both")
        from scalax.runs.read import read_table, rename

        query: dict[str, Any] = _read_points(rename(read_table(points), columns), fit, given)
    else:
        query = {"params": params, "tokens": tokens, **given}
        missing = [
            f"--{name}" for name in ("params", "tokens") if name in required and not query[name]
        ]
        if missing and None in (params, tokens):
            raise ScalaxError(
                f"expected {' and '.join(missing)}, or --points",
                fix="write --params 7e9 --tokens 1.4e12",
            )
    warn(assumptions(form, {name: v for name, v in query.items() if v is not None}))
    if metric_file is not None:
        from scalax.predict.read_fit import read_fit
        from scalax.predict.two_step import TwoStep

        answers = TwoStep(fit, read_fit(metric_file)).predict(**query)
    else:
        answers = fit.predict(**query)
    records = [a.to_json() for a in (answers if isinstance(answers, list) else [answers])]
    sizes = {
        name: [record[name] for record in records if record[name] is not None] or None
        for name in ("flops", "params", "tokens")
    }
    warn(fit.reach(sizes["flops"] or 0.0, sizes["params"], sizes["tokens"]))
    if bytes_per_token is not None:
        from scalax.laws.bits import bits_per_byte

        losses = ("loss",) if metric_file else ("loss", "low", "high")
        for record in records:
            for name in losses:
                if record[name] is not None:
                    record[name] = float(bits_per_byte(record[name], bytes_per_token))
    if as_json:
        print_json(records)
        return
    shown = ["params", "tokens", "flops", "loss", *(["metric"] if metric_file else [])]
    table([*shown, f"{fit.level:.0%} interval"], (_row(record, shown) for record in records))


def _read_points(runs: Runs, fit: LossLaw, given: dict[str, float]) -> dict[str, Any]:
    """Returns the columns of a query: those of the table that the law reads, and those given.

    Any two of params, tokens and flops give the third, by the fit's compute rule.
    """
    from scalax.runs.read import positive_column

    form = fit.form
    sizes = {"params", "tokens", "flops"}
    needed = set(form.columns) - set(form.assumed)
    if sum(name in runs for name in sizes) >= 2:
        needed -= sizes
    names = ({*form.columns} | sizes) - set(given)
    query: dict[str, Any] = {
        n: positive_column(runs, n) for n in sorted(names) if n in runs or n in needed
    }
    query |= given
    if "flops" in query and "params" in query and "tokens" not in query:
        x = form.complete({**query, "tokens": 1.0})  # params_computed does not depend on tokens
        query["tokens"] = fit.compute.tokens(form.params_computed(x), query["flops"])
    elif "flops" in query and "tokens" in query and not {"params", "params_active"} & set(query):
        rule = fit.compute
        # The parameters computed are in proportion to params.
        ratio = form.params_computed(form.complete({**query, "params": 1.0}))
        per_token = query["flops"] / (rule.coefficient * query["tokens"])
        query["params"] = per_token ** (1 / rule.exponent) / ratio
    return query


def _row(record: dict[str, Any], shown: list[str]) -> list[str]:
    cells = ["" if record[name] is None else f"{record[name]:.5g}" for name in shown]
    low, high = record["low"], record["high"]
    return [*cells, "unknown" if low is None else f"{low:.5g} to {high:.5g}"]
