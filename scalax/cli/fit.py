"""`scalax fit`: runs in, fit.json out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table, warn
from scalax.errors import ScalaxError

if TYPE_CHECKING:
    from scalax.predict.fit_result import Fit
    from scalax.runs.table import Runs

_SHOWN = 12  # members of an ensemble
_EXAMPLES = {
    "--fix": "write --fix E=1.69",
    "--tie": "write --tie alpha=beta",
    "--bound": "write --bound E=1:2",
}
# By the name of the parameter: what only the fit of a law reads.
_PARAMETRIC = {
    "law": "--law",
    "weights": "--weights",
    "delta": "--delta",
    "bootstrap": "--bootstrap",
    "seed": "--seed",
    "level": "--interval",
    "cost": "--cost",
    "watch": "--watch",
    "fixed": "--fix",
    "ties": "--tie",
    "bounds": "--bound",
    "out": "--out",
}


@click.command(
    epilog='Example: scalax fit losses.csv --columns "params=Model Size,flops=Training FLOP" '
    "--out fit.json"
)
@click.argument("runs", type=click.Path())
@click.option(
    "--law",
    default="auto",
    show_default=True,
    help="The law form to fit; auto for what forecast the largest budgets of RUNS best; "
    "posterior for published laws updated by RUNS, where they are few.",
)
@click.option("--metric", default="loss", show_default=True, help="The column to fit.")
@columns_option
@click.option("--drop-worst", default=0, metavar="K", help="Drop the K highest losses.")
@click.option(
    "--weights",
    type=click.Choice(["flat", "compute", "flops"]),
    default="flat",
    show_default=True,
    help="Rows alike, by the square root of flops, or by flops.",
)
@click.option("--delta", default=1e-3, show_default=True, help="Huber's delta on the log residual.")
@click.option("--bootstrap", default=0, metavar="B", help="Resamples for intervals; 0 for none.")
@click.option("--seed", default=0, show_default=True, help="Of the resampling.")
@click.option("--interval", "level", default=0.9, show_default=True, help="Nominal coverage.")
@click.option(
    "--cost",
    type=click.Choice(["huber", "l1", "l2", "student", "asymmetric"]),
    default="huber",
    show_default=True,
    help="What a log residual costs.",
)
@click.option(
    "--method",
    type=click.Choice(["parametric", "isoflop", "envelope", "hyperparameters"]),
    default="parametric",
    show_default=True,
    help="The law; a classical route to N* for comparison; or laws of learning rate and batch.",
)
@click.option("--watch", is_flag=True, help="Fit again whenever RUNS changes; Ctrl-C ends it.")
@click.option("--clean", is_flag=True, help="Drop near-duplicates, off-centre points, outliers.")
@click.option("--fix", "fixed", multiple=True, metavar="E=1.69", help="Hold a coefficient.")
@click.option("--tie", "ties", multiple=True, metavar="alpha=beta", help="Keep two equal.")
@click.option("--bound", "bounds", multiple=True, metavar="E=1:2", help="Keep one within bounds.")
@click.option("--out", metavar="FILE", help="Write the fit here, for predict and allocate.")
@json_option
@plugin_option
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    runs: str,
    law: str,
    out: str | None,
    as_json: bool,
    method: str,
    watch: bool,
    **settings: Any,
) -> None:
    """Fit a law to RUNS: a CSV, JSONL or Parquet file, or the folder of a sweep."""
    from scalax.fit.estimate import fit as estimate

    if method != "parametric":
        for name, flag in _PARAMETRIC.items():
            if name == "out" and method == "hyperparameters":
                continue
            if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(
                    f"{flag} means nothing to --method {method}: it fits no law; leave it out", ctx
                )
        if method == "hyperparameters":
            _tuning(runs, out, as_json, settings)
            return
        _classical(runs, method, as_json, settings)
        return
    settings["fixed"] = dict(_pair(text, "--fix", _number) for text in settings["fixed"])
    settings["ties"] = [_pair(text, "--tie", str) for text in settings["ties"]]
    settings["bounds"] = dict(_pair(text, "--bound", _range) for text in settings["bounds"])
    if watch:
        _watch(runs, lambda: estimate(runs, law, rollout=True, **settings), out, as_json)
        return
    found = estimate(runs, law, rollout=out is not None, **settings)
    if out:
        found.save(out)
    warn(found.notes)
    if as_json:
        print_json(_record(found))
        return
    _show(found)


def _record(found: Fit) -> dict[str, Any]:
    return {k: v for k, v in found.to_json().items() if k not in ("samples", "residuals")}


def _cleaned(runs: str, settings: dict[str, Any]) -> Runs:
    from scalax.runs.clean import clean
    from scalax.runs.read import read_runs

    metric = settings["metric"]
    found = read_runs(runs, settings["columns"], metric)
    found = clean(found, metric=metric, drop_worst=settings["drop_worst"])
    if settings["clean"]:
        from scalax.fit.outliers import tidy

        found = tidy(found, metric)
    warn(found.notes)
    return found


def _tuning(runs: str, out: str | None, as_json: bool, settings: dict[str, Any]) -> None:
    from scalax.fit.hyperparameters import tune
    from scalax.report.hyperparameter_text import law_rows, optimum_rows, tuning_lines

    found = tune(_cleaned(runs, settings), settings["metric"])
    if out:
        found.save(out)
    warn(found.notes)
    record = found.to_json()
    if as_json:
        print_json(record)
        return
    for line in tuning_lines(found, "tokens"):
        click.echo(line)
    click.echo()
    table(["law", "number", "estimate", f"{found.level:.0%} interval"], law_rows(found))
    click.echo()
    table(*optimum_rows(found, "tokens"))


def _classical(runs: str, method: str, as_json: bool, settings: dict[str, Any]) -> None:
    from scalax.fit.classical import classical_split

    found = classical_split(_cleaned(runs, settings), method, settings["metric"])
    warn(found.notes)
    if as_json:
        print_json(found.to_json())
        return
    click.echo(
        f"N* = {found.coefficient:.4g} C^{found.exponent:.4g}, D* ~ C^"
        f"{found.tokens_exponent:.4g}, from {len(found.points)} minima"
    )


def _watch(runs: str, refit: Callable[[], Fit], out: str | None, as_json: bool) -> None:
    from scalax.fit.watch import line, watch

    for found in watch(runs, refit, every=2.0):
        if isinstance(found, ScalaxError):
            click.echo(f"waiting: {found}", err=True)
            continue
        if out:
            found.save(out)
        if as_json:
            print_json(_record(found))
        else:
            click.echo(line(found))


def _pair(text: str, option: str, read: Callable[[str], Any]) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        if not (name.strip() and value.strip()):
            raise ValueError
        return name.strip(), read(value.strip())
    except ValueError:
        raise ScalaxError(f"cannot read {text!r}", where=option, fix=_EXAMPLES[option]) from None


def _number(text: str) -> float:
    return float(text)


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    return float(low), float(high)


def _show(found: Fit) -> None:
    click.echo(f"{found.law}: {found.form.equation}")
    objective = "" if found.objective is None else f", objective {found.objective:.10g}"
    click.echo(f"{found.rows} rows{objective}, compute {found.compute.name}")
    if found.coefficients is None:
        table(
            ["share", "law", "weights", "coefficients"],
            (
                [
                    f"{m.share:.1%}",
                    m.law,
                    m.weights,
                    ", ".join(f"{name} {value:.5g}" for name, value in m.coefficients.items()),
                ]
                for m in found.members[:_SHOWN]
            ),
        )
        if len(found.members) > _SHOWN:
            click.echo(f"and {len(found.members) - _SHOWN} more: fit.json holds all")
        return
    rows = [[name, f"{value:.6g}"] for name, value in found.coefficients.items()]
    if found.intervals is None:
        table(["coefficient", "estimate"], rows)
        return
    for row in rows:
        low, high = found.intervals[row[0]]
        row.append(f"{low:.4g} to {high:.4g}")
    table(["coefficient", "estimate", f"{found.level:.0%} interval"], rows)
