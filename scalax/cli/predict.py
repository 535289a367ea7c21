"""`scalax predict`: the loss at given sizes and token counts, or a metric that follows from it."""

from __future__ import annotations

from typing import Any

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table, warn
from scalax.cli.choose_fit import chosen, fit_options, given_option, loss_law
from scalax.errors import ScalaxError
from scalax.predict.columns import assumptions, given_columns


@click.command(epilog="Example: scalax predict --law hoffmann2022 --params 70e9 --tokens 1.4e12")
@fit_options
@click.option("--params", type=float, metavar="N", help="Model parameters.")
@click.option("--tokens", type=float, metavar="D", help="Training tokens.")
@click.option("--points", metavar="CSV", help="A table with the columns that the law reads.")
@given_option
@click.option(
    "--then",
    "metric_file",
    metavar="FILE",
    help="A fit.json of a downstream metric as a law of the loss; forecast that metric too.",
)
@click.option(
    "--bytes-per-token", type=float, metavar="B", help="Give losses in bits per byte of text."
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
    found: Any = loss_law(chosen(fit_file, law))
    level, reach = found.level, found.reach
    reads = [name for name in found.form.columns if name not in found.form.assumed]
    # Those that it reads go on as they are; `given_columns` words the refusal of the others.
    given_columns(found.form, {k: v for k, v in given.items() if k not in found.form.columns})
    if points is not None:
        if params is not None or tokens is not None:
            raise ScalaxError("expected --points or --params and --tokens, got both")
        from scalax.runs.read import read_table, rename

        at: dict[str, Any] = _columns(rename(read_table(points), columns), found, given)
    else:
        at = {"params": params, "tokens": tokens, **given}
        lacking = [f"--{name}" for name in ("params", "tokens") if name in reads and not at[name]]
        if lacking and None in (params, tokens):
            raise ScalaxError(
                f"expected {' and '.join(lacking)}, or --points",
                fix="write --params 7e9 --tokens 1.4e12",
            )
    warn(assumptions(found.form, {name: v for name, v in at.items() if v is not None}))
    if metric_file is not None:
        from scalax.predict.read_fit import read_fit
        from scalax.predict.two_step import TwoStep

        found = TwoStep(found, read_fit(metric_file))
    answers = found.predict(**at)
    records = [a.to_json() for a in (answers if isinstance(answers, list) else [answers])]
    sizes = {
        name: [record[name] for record in records if record[name] is not None] or None
        for name in ("flops", "params", "tokens")
    }
    warn(reach(sizes["flops"] or 0.0, sizes["params"], sizes["tokens"]))
    if bytes_per_token is not None:
        from scalax.laws.bits import bits_per_byte

        ends = ("loss",) if metric_file else ("loss", "low", "high")
        for record in records:
            for name in ends:
                if record[name] is not None:
                    record[name] = float(bits_per_byte(record[name], bytes_per_token))
    if as_json:
        print_json(records)
        return
    shown = ["params", "tokens", "flops", "loss", *(["metric"] if metric_file else [])]
    table([*shown, f"{level:.0%} interval"], (_row(record, shown) for record in records))


def _columns(at: Any, fit: Any, given: dict[str, float]) -> dict[str, Any]:
    """What a table of points holds of what the law reads, with what was given beside it.

    Of params, tokens and flops any two give the third, by the fit's compute rule.
    """
    from scalax.runs.read import positive_column

    form = fit.form
    sizes = {"params", "tokens", "flops"}
    needed = set(form.columns) - set(form.assumed)
    if sum(name in at for name in sizes) >= 2:
        needed -= sizes
    wanted = ({*form.columns} | sizes) - set(given)
    found: dict[str, Any] = {
        n: positive_column(at, n) for n in sorted(wanted) if n in at or n in needed
    }
    found |= given
    if "flops" in found and "params" in found and "tokens" not in found:
        x = form.complete({**found, "tokens": 1.0})  # of one token: size alone counts here
        found["tokens"] = fit.compute.tokens(form.params_computed(x), found["flops"])
    elif "flops" in found and "tokens" in found and not {"params", "params_active"} & set(found):
        rule = fit.compute
        at_one = form.params_computed(form.complete({**found, "params": 1.0}))  # it scales with N
        per_token = found["flops"] / (rule.coefficient * found["tokens"])
        found["params"] = per_token ** (1 / rule.exponent) / at_one
    return found


def _row(record: dict[str, Any], shown: list[str]) -> list[str]:
    cells = ["" if record[name] is None else f"{record[name]:.5g}" for name in shown]
    low, high = record["low"], record["high"]
    return [*cells, "unknown" if low is None else f"{low:.5g} to {high:.5g}"]
