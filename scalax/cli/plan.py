"""`scalax plan`: which pilot runs to train under a budget."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, plugin_option, print_json, table, warn


@click.command(
    epilog="""\b
Examples:
  scalax plan --law prior --budget 1e18 --target 1e21 --out plan.toml
  scalax plan --law prior --budget 1e18 --target 1e21 --runs out/plan --out next.toml"""
)
@click.option(
    "--law",
    required=True,
    metavar="NAME|FIT.json|prior",
    help="What is known before: a published law, a fit.json, or prior, a broad distribution over "
    "the published laws.",
)
@click.option(
    "--budget", type=float, required=True, metavar="FLOPS", help="FLOPs of all runs together."
)
@click.option(
    "--target", type=float, required=True, metavar="FLOPS", help="Compute of the forecast."
)
@click.option("--max-flops", type=float, metavar="FLOPS", help="Greatest FLOPs of one run.")
@click.option(
    "--sizes", metavar="N,N,...", help="The only sizes to consider, in parameters, as 1e6,4e6."
)
@click.option("--runs", metavar="RUNS.csv", help="Runs already trained; plans the next ones.")
@click.option(
    "--like",
    metavar="EXPERIMENT.toml",
    help="Use its data, model and training; by default the quickstart's.",
)
@click.option("--out", metavar="PLAN.toml", help="Write the experiment here, for scalax run.")
@json_option
@plugin_option
def plan(
    law: str,
    budget: float,
    target: float,
    max_flops: float | None,
    sizes: str | None,
    runs: str | None,
    like: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Choose pilot runs for the sharpest forecast at a budget.

    Runs of one size branch from one trunk, whose cost counts once.
    """
    from scalax.plan.pilot import plan_pilot

    asked = None if sizes is None else _sizes(sizes)
    found = plan_pilot(law, budget, target, max_flops=max_flops, sizes=asked, runs=runs, like=like)
    if out:
        found.save(out)
    warn(found.notes)
    if as_json:
        print_json(found.to_json(out))
        return
    table(
        ["params", "tokens", "FLOPs", "adds", "trunk"],
        (
            [
                f"{run.counts.params:,}",
                f"{run.spec.units:,}",
                f"{run.flops:.3g}",
                f"{run.flops_spent:.3g}",
                run.trunk_name or "",
            ]
            for run in found.plan.fitted
        ),
    )
    click.echo(f"{len(found.plan.fitted)} runs, {found.flops:.4g} FLOPs of {budget:.4g}")
    click.echo(
        f"expected at {target:.4g} FLOPs after them (90 %): loss {found.loss[0]:.4g} to "
        f"{found.loss[1]:.4g}, N* {found.params[0]:.3g} to {found.params[1]:.3g}"
    )
    click.echo(f"next: scalax run {out}" if out else "write it with --out plan.toml")


def _sizes(text: str) -> list[float]:
    from scalax.errors import ScalaxError

    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ScalaxError(
            f"expected numbers, got {text!r}", where="--sizes", fix="write --sizes 1e6,4e6,1.6e7"
        ) from None
