"""`scalax simulate sweep`: synthetic runs of a known law, with what goes wrong in practice."""

from __future__ import annotations

from pathlib import Path

import click

from scalax.cli.app import json_option, plugin_option, print_json
from scalax.cli.choose_fit import law_or_file


@click.command(
    epilog="""\b
Examples:
  scalax simulate sweep --law hoffmann2022 --out runs.csv
  scalax simulate sweep --law fit.json --design plan.toml --drift 0.003 --out runs.csv"""
)
@click.option(
    "--law", required=True, metavar="NAME|FIT.json", help="A published law, or a fit's file."
)
@click.option("--out", required=True, metavar="RUNS.csv", help="Where the runs table goes.")
@click.option(
    "--design",
    metavar="EXPERIMENT.toml",
    help="An experiment whose runs are made; by default five isoFLOPs of seven sizes, off centre.",
)
@click.option(
    "--noise",
    default=0.003,
    show_default=True,
    metavar="STD",
    help="Relative standard deviation of the loss; half its variance is a trunk's branches' own.",
)
@click.option(
    "--mistuned",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the runs whose learning rate is off: raised by 1 % in the mean.",
)
@click.option(
    "--outliers",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the runs that spiked: raised by 5 to 35 %.",
)
@click.option(
    "--drift",
    default=0.0,
    show_default=True,
    metavar="SIZE",
    help="Form error that no law contains: its root mean square in log loss, a decade of compute.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
@json_option
@plugin_option
def sweep(
    law: str,
    out: str,
    design: str | None,
    noise: float,
    mistuned: float,
    outliers: float,
    drift: float,
    seed: int,
    as_json: bool,
) -> None:
    """Make synthetic runs of a law, to rehearse a study or to test how runs are fitted."""
    from scalax.errors import ScalaxError
    from scalax.runs.csv_writer import write_runs
    from scalax.simulate.sweep import Troubles, synthetic_runs

    if seed < 0:
        raise ScalaxError(f"expected 0 or more, got {seed}", where="--seed")
    if Path(out).suffix.lower() != ".csv":
        raise ScalaxError(
            f"expected a .csv file, got {out!r}", where="--out", fix="write --out runs.csv"
        )
    troubles = Troubles(noise, mistuned, outliers, drift)
    rows = synthetic_runs(law_or_file(law), troubles, design=design, seed=seed)
    write_runs(Path(out), rows)
    if as_json:
        print_json({"out": out, "rows": len(rows), "runs": rows})
        return
    fitted = [row for row in rows if row["role"] == "fit"]
    spent = sum(row["flops_spent"] for row in rows)
    least, most = min(r["loss"] for r in fitted), max(r["loss"] for r in fitted)
    click.echo(
        f"{len(rows)} runs to {out}: {spent:.3g} FLOPs had they been trained, "
        f"loss {least:.4g} to {most:.4g}; next: scalax fit {out}"
    )
