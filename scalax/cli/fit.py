"""`scalax fit`: fits a law to runs and prints it as text or JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scalax.cli.app import json_option, plugin_option, print_json, table, warn
from scalax.cli.settings_options import flag_of, settings_options
from scalax.errors import ScalaxError
from scalax.fit.settings import FitSettings, RowSettings

if TYPE_CHECKING:
    from scalax.predict.fit_result import Fit
    from scalax.runs.table import Runs

_MAX_MEMBERS = 12  # members of an ensemble to print
_LAW_OPTIONS = [*(set(FitSettings.model_fields) - set(RowSettings.model_fields)), "watch", "out"]
"""Parameters that only the fit of a law uses."""


@click.command(
    epilog="""\b
Examples:
  scalax fit runs.csv --out fit.json
  scalax fit runs.csv --law chinchilla --bootstrap 1000
  scalax fit losses.csv --columns "params=Model Size,flops=Training FLOP"
"""
)
@click.argument("runs", type=click.Path())
@settings_options(FitSettings, ["law", *(n for n in FitSettings.model_fields if n != "law")])
@click.option(
    "--method",
    type=click.Choice(["parametric", "isoflop", "envelope", "hyperparameters"]),
    default="parametric",
    show_default=True,
    help="Fit a law (parametric), N* by a classical method, or laws of learning rate and batch.",
)
@click.option("--watch", is_flag=True, help="Fit again whenever RUNS changes; stop with Ctrl-C.")
@click.option("--out", metavar="FILE", help="Write the fit here, for predict and allocate.")
@json_option
@plugin_option
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    runs: str,
    out: str | None,
    as_json: bool,
    method: str,
    watch: bool,
    **settings: Any,
) -> None:
    """Fit a law to a table of runs, or to a sweep's folder.

    RUNS is a CSV, JSONL or Parquet file, or the folder that scalax run wrote.
    """
    from scalax.fit.estimate import fit as estimate

    if method != "parametric":
        _reject_law_options(ctx, method)
        if method == "hyperparameters":
            _hyperparameters(runs, out, as_json, settings)
        else:
            _classical(runs, method, as_json, settings)
        return
    if watch:
        _watch(runs, lambda: estimate(runs, **settings), out, as_json)
        return
    result = estimate(runs, **settings)
    if out:
        result.save(out)
    warn(result.notes)
    if as_json:
        print_json(_record(result))
        return
    _show(result)


def _reject_law_options(ctx: click.Context, method: str) -> None:
    for name in _LAW_OPTIONS:
        if name == "out" and method == "hyperparameters":
            continue
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"{flag_of(name)} does not apply to --method {method}, which fits no law; "
                "leave it out",
                ctx,
            )


def _record(result: Fit) -> dict[str, Any]:
    return {k: v for k, v in result.to_json().items() if k not in ("samples", "residuals")}


def _rows(runs: str, settings: dict[str, Any], *, every_setting: bool) -> Runs:
    from scalax.fit.estimate import rows_of
    from scalax.fit.settings import fit_settings

    table = rows_of(runs, fit_settings(**settings), every_setting=every_setting)
    warn(table.notes)
    return table


def _hyperparameters(runs: str, out: str | None, as_json: bool, settings: dict[str, Any]) -> None:
    from scalax.fit.hyperparameters import tune
    from scalax.report.hyperparameter_text import law_rows, optimum_rows, tuning_lines

    result = tune(_rows(runs, settings, every_setting=True), settings["metric"])
    if out:
        result.save(out)
    warn(result.notes)
    if as_json:
        print_json(result.to_json())
        return
    for line in tuning_lines(result, "tokens"):
        click.echo(line)
    click.echo()
    table(["law", "number", "estimate", f"{result.level:.0%} interval"], law_rows(result))
    click.echo()
    table(*optimum_rows(result, "tokens"))


def _classical(runs: str, method: str, as_json: bool, settings: dict[str, Any]) -> None:
    from scalax.fit.classical import classical_split

    rows = _rows(runs, settings, every_setting=False)
    result = classical_split(rows, method, settings["metric"])
    warn(result.notes)
    if as_json:
        print_json(result.to_json())
        return
    click.echo(
        f"N* = {result.coefficient:.4g} C^{result.exponent:.4g}, D* ~ C^"
        f"{result.tokens_exponent:.4g}, from {len(result.points)} minima"
    )


def _watch(runs: str, refit: Callable[[], Fit], out: str | None, as_json: bool) -> None:
    from scalax.fit.watch import summary_line, watch

    for result in watch(runs, refit, every=2.0):
        if isinstance(result, ScalaxError):
            click.echo(f"waiting: {result}", err=True)
            continue
        if out:
            result.save(out)
        if as_json:
            print_json(_record(result))
        else:
            click.echo(summary_line(result))


def _show(result: Fit) -> None:
    click.echo(f"{result.law}: {result.form.equation}")
    objective = "" if result.objective is None else f", objective {result.objective:.10g}"
    click.echo(f"{result.rows} rows{objective}, compute {result.compute.name}")
    if result.coefficients is None:
        _show_members(result)
        return
    rows = [[name, f"{value:.6g}"] for name, value in result.coefficients.items()]
    if result.intervals is None:
        table(["coefficient", "estimate"], rows)
        return
    for row in rows:
        low, high = result.intervals[row[0]]
        row.append(f"{low:.4g} to {high:.4g}")
    table(["coefficient", "estimate", f"{result.level:.0%} interval"], rows)


def _show_members(result: Fit) -> None:
    table(
        ["share", "law", "weights", "coefficients"],
        (
            [
                f"{m.share:.1%}",
                m.law,
                m.weights,
                ", ".join(f"{name} {value:.5g}" for name, value in m.coefficients.items()),
            ]
            for m in result.members[:_MAX_MEMBERS]
        ),
    )
    if len(result.members) > _MAX_MEMBERS:
        click.echo(f"and {len(result.members) - _MAX_MEMBERS} more; --out fit.json writes all")
