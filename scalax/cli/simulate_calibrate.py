"""`scalax simulate calibrate`: measures this machine for accurate simulations."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, print_json, say, table


@click.command(
    epilog="""\b
Examples:
  scalax simulate calibrate
  scalax simulate step --chips cpu --precision f32 --params 3e6 --vocab 256
"""
)
@json_option
def calibrate(as_json: bool) -> None:
    """Measure this machine for accurate simulations.

    Times matrix products, memory, sums over devices and some train steps. Run it while the machine
    is idle. The result is stored in the cache folder; later simulations use it. A CPU becomes the
    chip cpu. Of a known accelerator, the shares of its peak rates are replaced.
    """
    from scalax.devices import prepare

    prepare()
    from scalax.simulate.calibrate import calibrate as measure

    result = measure(say)
    if as_json:
        print_json(result)
        return
    rows = [
        [
            f"{step['shape']['width']} x {step['shape']['layers']}",
            f"{step['batch']} x {step['shape']['seq_len']}",
            f"{step['seconds']:.4g}",
            f"{step['simulated']:.4g}",
            f"{step['simulated'] / step['seconds'] - 1:+.1%}",
        ]
        for step in result["steps"]
    ]
    table(["width x layers", "batch x length", "seconds", "simulated", "error"], rows)
    click.echo(
        f"{result['name']}: median error {result['median_error']:.1%}; stored in {result['file']}"
    )
