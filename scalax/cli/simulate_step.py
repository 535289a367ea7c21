"""`scalax simulate step`: time, memory and price of a training step on any hardware."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, plugin_option, print_json
from scalax.cli.choose_hardware import chips_file_option, precision_option
from scalax.hardware.names import RECOMPUTE, Recompute


@click.command(
    epilog="""\b
Examples:
  scalax simulate step --params 1.3e9 --chips v5e-16
  scalax simulate step --preset llama-3.1-8b --chips v6e-256
  scalax simulate step --preset llama-3.1-405b --chips 2xv5p-2048 \\
      --mesh data=2,fsdp=1024
  scalax simulate step --params 7e9 --chips v5p-16 --mesh fsdp=8 --compile
"""
)
@click.option("--family", default="transformer", show_default=True, help="Model family.")
@click.option("--params", type=float, metavar="N", help="Number of parameters.")
@click.option(
    "--config", metavar="FILE.toml", help="File with a shape: vocab, width, layers, heads, ..."
)
@click.option("--preset", metavar="NAME", help="Name of an open model, such as llama-3.1-8b.")
@click.option(
    "--chips",
    required=True,
    metavar="SLICE",
    help="Slice: v5e-256, 2xv6e-256, h100-8 or cpu (once calibrated).",
)
@click.option(
    "--mesh",
    metavar="AXIS=N,...",
    help="Sizes of data, fsdp, tensor and expert; searched if left out.",
)
@click.option(
    "--batch-tokens", type=float, metavar="T", help="Tokens per step; searched if left out."
)
@click.option(
    "--seq-len",
    type=click.IntRange(1),
    metavar="L",
    help="Tokens per sequence; the model's own or 2048 by default.",
)
@click.option(
    "--vocab",
    type=click.IntRange(1),
    metavar="V",
    help="Vocabulary size; the model's own or 32000 by default.",
)
@precision_option
@click.option(
    "--recompute",
    type=click.Choice(RECOMPUTE),
    help="What the backward pass recomputes; searched if left out.",
)
@click.option(
    "--compile", "compile_too", is_flag=True, help="Also compile the step with the TPU's compiler."
)
@chips_file_option
@json_option
@plugin_option
def step(
    family: str,
    params: float | None,
    config: str | None,
    preset: str | None,
    chips: str,
    mesh: str | None,
    batch_tokens: float | None,
    seq_len: int | None,
    vocab: int | None,
    precision: str,
    recompute: Recompute | None,
    compile_too: bool,
    chips_file: str | None,
    as_json: bool,
) -> None:
    """Simulate time, memory and price of a training step.

    Give the model with --params, --config or --preset. The hardware need not be present. A search
    chooses the mesh, batch and recomputation that you leave out: the fastest that fit in memory.
    """
    from scalax.hardware.request import step_from_request
    from scalax.simulate.step import compile_simulated, describe_model, format_step, step_json

    model = describe_model(
        family=family,
        params=params,
        config=config,
        preset_name=preset,
        seq_len=seq_len,
        vocab=vocab,
    )
    simulated = step_from_request(
        model.architecture,
        chips,
        mesh=mesh,
        batch_tokens=batch_tokens,
        precision=precision,
        recompute=recompute,
        chips_file=chips_file,
    )
    compiled = compile_simulated(model, simulated) if compile_too else None
    if as_json:
        print_json(step_json(simulated, compiled))
        return
    for line in format_step(simulated, compiled):
        click.echo(line)
