"""`scalax plan`: chooses the pilot runs to train under a budget."""

from __future__ import annotations

import click

from scalax.cli.app import json_option, plugin_option, print_json, table, warn


@click.command(
    epilog="""\b
Examples:
  scalax plan --law prior --budget 1e18 --target 1e21 --out plan.toml
  scalax plan --law prior --budget 1e18 --target 1e21 --runs out/plan"""
)
@click.option(
    "--law",
    required=True,
    metavar="NAME|FIT.json|prior",
    help="What is known before the runs: a published law, a fit.json, or prior, a broad "
    "distribution over the published laws.",
)
@click.option(
    "--budget", type=float, required=True, metavar="FLOPS", help="Total FLOPs of the runs."
)
@click.option(
    "--target", type=float, required=True, metavar="FLOPS", help="FLOPs at which to forecast."
)
@click.option("--max-flops", type=float, metavar="FLOPS", help="Most FLOPs of a single run.")
@click.option(
    "--sizes", metavar="N,N,...", help="Consider only these sizes, in parameters, such as 1e6,4e6."
)
@click.option("--runs", metavar="RUNS", help="Runs already trained: a table or a sweep's folder.")
@click.option(
    "--like",
    metavar="EXPERIMENT.toml",
    help="Use the data, model and training of this experiment; by default the quickstart's.",
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
    """Choose the pilot runs that sharpen a forecast most.

    The runs cost --budget together, and the forecast is at --target. Runs of the same size branch
    from one trunk, whose cost counts once.
    """
    from scalax.plan.pilot import plan_pilot

    pilot = plan_pilot(
        law,
        budget,
        target,
        max_flops=max_flops,
        sizes=None if sizes is None else _sizes(sizes),
        runs=runs,
        like=like,
    )
    if out:
        pilot.save(out)
    warn(pilot.notes)
    if as_json:
        print_json(pilot.to_json(out))
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
            for run in pilot.plan.fitted
        ),
    )
    click.echo(f"{len(pilot.plan.fitted)} runs, {pilot.flops:.4g} FLOPs of {budget:.4g}")
    click.echo(
        f"expected at {target:.4g} FLOPs after these runs (90 %): loss {pilot.loss[0]:.4g} to "
        f"{pilot.loss[1]:.4g}, N* {pilot.params[0]:.3g} to {pilot.params[1]:.3g}"
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
