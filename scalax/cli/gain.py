"""`scalax gain`: how many times the compute one recipe needs to match another."""

from __future__ import annotations

import click

from scalax.cli.app import columns_option, json_option, plugin_option, print_json, warn
from scalax.predict.fit_result import Fit
from scalax.predict.read_fit import read_fit


@click.command(epilog="Example: scalax gain old.csv new.csv --flops 1e22")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option("--flops", type=float, required=True, metavar="C", help="B's compute, in FLOPs.")
@click.option(
    "--law", default="chinchilla", show_default=True, help="The form to fit to runs tables."
)
@click.option("--metric", default="loss", show_default=True, help="The column to fit.")
@columns_option
@click.option(
    "--bootstrap", default=200, show_default=True, metavar="N", help="Resamples of a runs table."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling."
)
@json_option
@plugin_option
def gain(
    a: str,
    b: str,
    flops: float,
    law: str,
    metric: str,
    columns: dict[str, str],
    bootstrap: int,
    seed: int,
    as_json: bool,
) -> None:
    """The compute multiplier of B over A: what A must spend to reach B's loss at C.

    A and B are runs tables, folders of sweeps, or fit.json files, of one held-out data set.
    """
    import numpy as np

    from scalax.predict.gain import gain as compare

    # A seed for each table: shared draws would cancel in the ratio.
    seeds = np.random.SeedSequence(seed).generate_state(2).tolist()

    def read(path: str, seed: int) -> Fit:
        if path.endswith(".json"):
            return read_fit(path)
        from scalax.fit.estimate import fit

        return fit(path, law, columns=columns, metric=metric, bootstrap=bootstrap, seed=seed)

    found = compare(read(a, seeds[0]), read(b, seeds[1]), flops)
    if as_json:
        print_json(found.to_json())
        return
    if found.multiplier is None:
        click.echo(f"A never reaches the loss of B, {found.loss:.5g}")
    else:
        span = "" if found.low is None else f"  ({found.low:.3g} to {_end(found.high)})"
        click.echo(f"compute multiplier  {found.multiplier:.4g}{span}")
        click.echo(f"loss of B           {found.loss:.5g} at {found.flops:.4g} FLOPs")
        click.echo(f"loss of A there     {found.loss_a:.5g}; it needs {found.flops_needed:.4g}")
    warn(found.notes)


def _end(high: float | None) -> str:
    return "no end" if high is None else f"{high:.3g}"
