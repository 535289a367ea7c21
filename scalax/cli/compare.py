"""`scalax compare`: ranks laws by their forecasts of a table's largest budgets."""

from __future__ import annotations

from typing import Any

import click

from scalax.cli.app import json_option, plugin_option, print_json, table
from scalax.cli.settings_options import settings_options
from scalax.fit.settings import ObjectiveSettings


@click.command(
    epilog="""\b
Examples:
  scalax compare runs.csv
  scalax compare runs.csv --laws chinchilla,joint --columns "flops=budget"
"""
)
@click.argument("runs", type=click.Path())
@click.option(
    "--laws",
    default="",
    metavar="A,B,...",
    help="Laws to compare; by default chinchilla, joint and kaplan.",
)
@settings_options(ObjectiveSettings)
@json_option
@plugin_option
def compare(runs: str, laws: str, as_json: bool, **settings: Any) -> None:
    """Rank laws by their forecasts of hidden larger runs.

    RUNS is a CSV, JSONL or Parquet file, or the folder of a sweep. Its largest budgets are hidden
    one after the other; each law is fitted to the rest and scored on the hidden rows.
    """
    from scalax.fit.compare import compare as rank

    names = [name.strip() for name in laws.split(",") if name.strip()]
    scores = rank(runs, names or None, **settings)
    if as_json:
        print_json([score.to_json() for score in scores])
        return
    hidden = ", ".join(f"{budget:.3g}" for budget in scores[0].cutoffs)
    click.echo(f"cutoffs, each hiding all budgets from it up: {hidden}")
    table(
        ["law", "weights", "mean error", "median error", "90% coverage", "interval score"],
        (
            [
                s.law,
                s.weights,
                f"{s.mean_error:.2%}",
                f"{s.median_error:.2%}",
                f"{s.coverage:.0%}",
                f"{s.interval_score:.2%}",
            ]
            for s in scores
        ),
    )
