"""`scalax simulate`: its subcommands, imported when they are used."""

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
    """Simulate a training step or a sweep, and calibrate.

    A step can run on hardware you don't have; a sweep follows a known law without training.
    """
