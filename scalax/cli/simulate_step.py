"""`scalax simulate step`: time, memory and price of a training step on hardware not at hand."""

from __future__ import annotations

import click


@click.command()
def step() -> None:
    """Time, memory and price of a training step on hardware you don't have."""
    raise click.UsageError("not there yet")
