"""`scalax allocate`: how a compute budget is best split."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, plugin_option, print_json, warn
from scalax.cli.choose_fit import chosen, fit_options


@click.command(epilog="Example: scalax allocate --law hoffmann2022 --flops 5.76e23")
@fit_options
@click.option("--flops", type=float, required=True, metavar="C", help="The budget, in FLOPs.")
@json_option
@plugin_option
def allocate(fit_file: str | None, law: str | None, flops: float, as_json: bool) -> None:
    """Split a compute budget between parameters and data so that the loss is least."""
    from scalax.report.words import allocation_lines

    answer = chosen(fit_file, law).allocate(flops)
    if as_json:
        print_json(answer.to_json())
        return
    for line in allocation_lines(answer):
        click.echo(line)
    warn(answer.notes)
