"""`scalax allocate`: splits a compute budget between parameters and data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from scalax.cli.app import json_option, plugin_option, print_json, warn
from scalax.cli.choose_fit import chosen_law, fit_options, given_option
from scalax.cli.choose_hardware import hardware_options

if TYPE_CHECKING:
    from scalax.budget.hardware import TrainingHardware


@click.command(
    epilog="""\b
Examples:
  scalax allocate --law hoffmann2022 --flops 5.76e23
  scalax allocate --law hoffmann2022 --target-loss 2 --inference-tokens 2e12
  scalax allocate --law muennighoff2023 --flops 1e21 --given unique_tokens=1e9
  scalax allocate --law hoffmann2022 --chips v5e-256 --days 30
  scalax allocate --law hoffmann2022 --chips v5e-256 --usd 250000 --lost 0.1"""
)
@fit_options
@click.option("--flops", type=float, metavar="C", help="Compute budget, in FLOPs.")
@click.option(
    "--inference-tokens",
    type=float,
    metavar="T",
    help="Tokens that the model will serve, at 2 FLOPs a parameter. --flops then covers training "
    "and inference.",
)
@click.option(
    "--target-loss", type=float, metavar="L", help="Minimise the compute that reaches this loss."
)
@click.option(
    "--max-tokens", type=float, metavar="T", help="Tokens available; the split uses no more."
)
@click.option("--days", type=float, metavar="DAYS", help="Budget in days of --chips.")
@click.option(
    "--usd", type=float, metavar="USD", help="Budget in dollars for --chips, at list price."
)
@hardware_options
@given_option
@json_option
@plugin_option
def allocate(
    fit_file: str | None,
    law: str | None,
    flops: float | None,
    inference_tokens: float | None,
    target_loss: float | None,
    max_tokens: float | None,
    days: float | None,
    usd: float | None,
    hardware: TrainingHardware | None,
    given: dict[str, float],
    as_json: bool,
) -> None:
    """Split a compute budget between parameters and data.

    The split minimises the loss. The budget is --flops, or what --chips compute in --days or for
    --usd. With --chips, a training step of the best model is simulated, and the answer includes
    utilisation, wall time and price.
    """
    from scalax.predict.data_limited import allocate_limited
    from scalax.report.allocation_text import allocation_lines

    chosen, extra = chosen_law(fit_file, law), []
    if hardware is None and (days is not None or usd is not None):
        raise click.UsageError("--days and --usd need --chips, such as --chips v5e-256")
    if inference_tokens is not None or target_loss is not None:
        if hardware is not None or max_tokens is not None:
            raise click.UsageError(
                "--inference-tokens and --target-loss exclude --chips and --max-tokens"
            )
        from scalax.predict.inference import allocate_with_inference

        answer = allocate_with_inference(
            chosen.require_loss(),
            inference_tokens or 0.0,
            flops=flops,
            target_loss=target_loss,
            given=given,
        )
        if chosen.has_split_rule:
            rule = f"the split minimises the loss law of {chosen.law}, not the paper's own rule"
            answer = dataclasses.replace(answer, notes=[rule, *answer.notes])
    elif hardware is not None:
        from scalax.budget.hardware import allocate_on, hardware_lines

        answer = allocate_on(
            chosen, hardware, flops=flops, days=days, usd=usd, max_tokens=max_tokens, given=given
        )
        extra = hardware_lines(answer)
    elif flops is not None:
        answer = allocate_limited(chosen, flops, max_tokens, **given)
    else:
        raise click.UsageError(
            "Missing option '--flops' (or '--target-loss'), or '--chips' with '--days' or '--usd'."
        )
    if as_json:
        print_json(answer.to_json())
        return
    for line in [*allocation_lines(answer), *extra]:
        click.echo(line)
    warn(answer.notes)
