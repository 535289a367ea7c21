"""`scalax allocate`: how a compute budget is best split."""

from __future__ import annotations

import dataclasses

import click

from scalax.cli.app import json_option, plugin_option, print_json, warn
from scalax.cli.choose_fit import chosen, fit_options, given_option, loss_law
from scalax.predict.published_law import PublishedLaw


@click.command(
    epilog="""\b
Examples:
  scalax allocate --law hoffmann2022 --flops 5.76e23
  scalax allocate --law hoffmann2022 --inference-tokens 2e12 --target-loss 1.95
  scalax allocate --law muennighoff2023 --flops 1e22 --given unique_tokens=1e10"""
)
@fit_options
@click.option("--flops", type=float, metavar="C", help="The budget, in FLOPs.")
@click.option(
    "--inference-tokens",
    type=float,
    metavar="T",
    help="Tokens to be served over the model's life, at 2 FLOPs a parameter: then --flops is the "
    "budget of training and inference together, or --target-loss is met at least compute.",
)
@click.option(
    "--target-loss", type=float, metavar="L", help="Reach this loss with the least compute."
)
@given_option
@json_option
@plugin_option
def allocate(
    fit_file: str | None,
    law: str | None,
    flops: float | None,
    inference_tokens: float | None,
    target_loss: float | None,
    given: dict[str, float],
    as_json: bool,
) -> None:
    """Split a compute budget between parameters and data so that the loss is least."""
    from scalax.report.words import allocation_lines

    found = chosen(fit_file, law)
    if inference_tokens is not None or target_loss is not None:
        from scalax.predict.inference import allocate_with_inference

        answer = allocate_with_inference(
            loss_law(found),
            inference_tokens or 0.0,
            flops=flops,
            target_loss=target_loss,
            given=given,
        )
        if isinstance(found, PublishedLaw) and found.entry.allocation is not None:
            rule = (
                f"the split is the least loss by {found.law}'s law of it, not the paper's own rule"
            )
            answer = dataclasses.replace(answer, notes=[rule, *answer.notes])
    elif flops is not None:
        answer = found.allocate(flops, **given)
    else:
        raise click.UsageError("Missing option '--flops' (or '--target-loss').")
    if as_json:
        print_json(answer.to_json())
        return
    for line in allocation_lines(answer):
        click.echo(line)
    warn(answer.notes)
