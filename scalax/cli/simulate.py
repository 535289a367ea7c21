"""`scalax simulate`: what-if on hardware and on laws; each subcommand is imported when named."""

from __future__ import annotations

import click

from scalax.cli.app import LazyGroup

_COMMANDS = {
    "step": "scalax.cli.simulate_step:step",
    "sweep": "scalax.cli.simulate_sweep:sweep",
    "calibrate": "scalax.cli.simulate_calibrate:calibrate",
}


@click.group(cls=LazyGroup, targets=_COMMANDS)
def simulate() -> None:
    """What-if: a step on hardware you don't have, a sweep you have not trained."""
