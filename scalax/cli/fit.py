"""`scalax fit`: runs in, fit.json out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table, warn

if TYPE_CHECKING:
    from scalax.predict.fit_result import Fit


@click.command(
    epilog='Example: scalax fit losses.csv --columns "params=Model Size,flops=Training FLOP" '
    "--bootstrap 1000 --out fit.json"
)
@click.argument("runs", type=click.Path())
@click.option("--law", default="chinchilla", show_default=True, help="The law form to fit.")
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
@click.option("--out", metavar="FILE", help="Write the fit here, for predict and allocate.")
@json_option
@plugin_option
def fit(runs: str, law: str, out: str | None, as_json: bool, **settings: Any) -> None:
    """Fit a law to RUNS: a CSV, JSONL or Parquet file, or the folder of a sweep."""
    from scalax.fit.estimate import fit as estimate

    found = estimate(runs, law, **settings)
    if out:
        found.save(out)
    warn(found.notes)
    if as_json:
        print_json({k: v for k, v in found.to_json().items() if k not in ("samples", "residuals")})
        return
    _show(found)


def _show(found: Fit) -> None:
    click.echo(f"{found.law}: {found.form.equation}")
    objective = "" if found.objective is None else f", objective {found.objective:.10g}"
    click.echo(f"{found.rows} rows{objective}, compute {found.compute.name}")
    if found.coefficients is None:
        table(
            ["share", "law", "weights", "coefficients"],
            (
                [
                    f"{m['share']:.1%}",
                    m["law"],
                    m["weights"],
                    ", ".join(f"{name} {value:.5g}" for name, value in m["coefficients"].items()),
                ]
                for m in found.members
            ),
        )
        return
    spans = found.intervals or {}
    table(
        ["coefficient", "estimate", f"{found.level:.0%} interval"],
        (
            [name, f"{value:.6g}", " to ".join(f"{end:.4g}" for end in spans.get(name, ()))]
            for name, value in found.coefficients.items()
        ),
    )
