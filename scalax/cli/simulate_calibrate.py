"""`scalax simulate calibrate`: measures this machine, so that simulations of it come true."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, print_json, say, table


@click.command(
    epilog="""\b
Examples:
  scalax simulate calibrate
  scalax simulate step --params 3e6 --vocab 256 --seq-len 256 --precision f32 --chips cpu"""
)
@json_option
def calibrate(as_json: bool) -> None:
    """Measure matrix products, memory, sums over devices and some train steps, here.

    What is found is kept in the cache folder and makes predictions for these devices true: a CPU
    becomes a chip of its own, and a known accelerator's shares of its peaks are replaced. Run it
    while the machine does nothing else.
    """
    from scalax.devices import prepare

    prepare()
    from scalax.simulate.calibrate import calibrate as measure

    found = measure(say)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            f"{step['shape']['width']} x {step['shape']['layers']}",
            f"{step['batch']} x {step['shape']['seq_len']}",
            f"{step['seconds']:.4g}",
            f"{step['simulated']:.4g}",
            f"{step['simulated'] / step['seconds'] - 1:+.1%}",
        ]
        for step in found["steps"]
    ]
    table(["width x layers", "batch x length", "seconds", "simulated", "error"], rows)
    click.echo(
        f"{found['name']}: median error {found['median_error']:.1%}; kept in {found['file']}"
    )
