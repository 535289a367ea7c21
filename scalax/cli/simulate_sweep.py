"""`scalax simulate sweep`: synthetic runs of a known law, with noise and other errors."""

from __future__ import annotations

from pathlib import Path

import click

from scalax.cli.app import json_option, plugin_option, print_json
from scalax.cli.choose_fit import law_or_file


@click.command(
    epilog="""\b
Examples:
  scalax simulate sweep --law hoffmann2022 --out runs.csv
  scalax simulate sweep --law fit.json --design plan.toml --out runs.csv
"""
)
@click.option(
    "--law", required=True, metavar="NAME|FIT.json", help="A published law, or the file of a fit."
)
@click.option("--out", required=True, metavar="RUNS.csv", help="Runs table to write.")
@click.option(
    "--design",
    metavar="EXPERIMENT.toml",
    help="Experiment file with the runs; by default five isoFLOPs of seven sizes.",
)
@click.option(
    "--noise",
    default=0.003,
    show_default=True,
    metavar="STD",
    help="Relative standard deviation of the loss; runs of a trunk share half the variance.",
)
@click.option(
    "--mistuned",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of runs with a bad learning rate: their loss rises by 1 % on average.",
)
@click.option(
    "--outliers",
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of runs with a spike: their loss rises by 5 to 35 %.",
)
@click.option(
    "--drift",
    default=0.0,
    show_default=True,
    metavar="SIZE",
    help="RMS error of log loss per decade of compute that no law contains.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
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
    """Write synthetic runs of a known law.

    Use them to rehearse a study or to test a fit.
    """
    from scalax.errors import ScalaxError
    from scalax.runs.csv_writer import write_runs
    from scalax.simulate.sweep import synthetic_runs
    from scalax.simulate.troubles import Troubles

    if seed < 0:
        raise ScalaxError(f"expected 0 or more, got {seed}", where="--seed", fix="write --seed 0")
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
    lowest, highest = min(r["loss"] for r in fitted), max(r["loss"] for r in fitted)
    click.echo(
        f"wrote {len(rows)} runs to {out}: training them would take {spent:.3g} FLOPs, "
        f"loss {lowest:.4g} to {highest:.4g}. Next: scalax fit {out}"
    )
