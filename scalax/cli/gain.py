"""`scalax gain`: the compute multiplier between two recipes."""

from __future__ import annotations

from typing import Any

import click

from scalax.cli.app import json_option, plugin_option, print_json, warn
from scalax.cli.settings_options import settings_options
from scalax.fit.settings import FitSettings

_SETTINGS = ("law", "metric", "columns", "drop_worst", "clean", "bootstrap", "seed")


@click.command(
    epilog="""\b
Examples:
  scalax gain old.csv new.csv --flops 1e22
  scalax gain out/old out/new --flops 1e22 --json
"""
)
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--flops", type=float, required=True, metavar="C", help="Compute of B, in FLOPs.")
@settings_options(FitSettings, _SETTINGS, defaults={"law": "chinchilla", "bootstrap": 200})
@json_option
@plugin_option
def gain(a: str, b: str, flops: float, as_json: bool, **settings: Any) -> None:
    """Compute the multiplier of recipe B over recipe A.

    The multiplier is the compute with which A reaches B's loss at --flops, divided by --flops. A
    and B are runs tables, folders of sweeps or fit.json files with the same held-out data.
    """
    from scalax.fit.gain import gain as compare

    result = compare(a, b, flops, **settings)
    if as_json:
        print_json(result.to_json())
        return
    if result.multiplier is None:
        click.echo(f"A never reaches the loss of B, {result.loss:.5g}")
    else:
        high = "no end" if result.high is None else f"{result.high:.3g}"
        interval = "" if result.low is None else f"  ({result.low:.3g} to {high})"
        click.echo(f"compute multiplier  {result.multiplier:.4g}{interval}")
        click.echo(f"loss of B           {result.loss:.5g} at {result.flops:.4g} FLOPs")
        click.echo(f"loss of A there     {result.loss_a:.5g}; it needs {result.flops_needed:.4g}")
    warn(result.notes)
