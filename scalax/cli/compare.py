"""`scalax compare`: which law forecasts a sweep's own largest budgets best."""

from __future__ import annotations

from typing import Any

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, table


@click.command(
    epilog='Example: scalax compare runs.csv --laws chinchilla,joint --columns "flops=budget"'
)
@click.argument("runs", type=click.Path())
@click.option("--laws", default="", metavar="A,B,...", help="Law forms; those of N and D if none.")
@click.option("--metric", default="loss", show_default=True, help="The column to fit.")
@columns_option
@click.option("--drop-worst", default=0, metavar="K", help="Drop the K highest losses.")
@click.option("--delta", default=1e-3, show_default=True, help="Huber's delta on the log residual.")
@json_option
@plugin_option
def compare(runs: str, laws: str, as_json: bool, **settings: Any) -> None:
    """Hide the largest budgets of RUNS step by step, and rank laws by their forecasts of them."""
    from scalax.fit.compare import compare as rank

    names = [name.strip() for name in laws.split(",") if name.strip()]
    scores = rank(runs, names or None, **settings)
    if as_json:
        print_json([score.to_json() for score in scores])
        return
    hidden = ", ".join(f"{budget:.3g}" for budget in scores[0].cutoffs)
    click.echo(f"budgets hidden, each with all above it: {hidden} FLOPs")
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
