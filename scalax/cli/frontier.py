"""`scalax frontier`: the best split at each of a range of budgets, as a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalax.cli.app import json_option, plugin_option, print_json, say, table, warn
from scalax.cli.choose_fit import chosen_law, fit_options, given_option
from scalax.cli.choose_hardware import hardware_options

if TYPE_CHECKING:
    from scalax.budget.frontier import Unit
    from scalax.budget.hardware import TrainingHardware

_LABELS = {"flops": "compute budget, FLOPs", "days": "wall time, days", "usd": "price, US dollars"}


@click.command(
    epilog="""\b
Examples:
  scalax frontier --law hoffmann2022 --flops 1e20:1e25
  scalax frontier --fit fit.json --flops 1e18:1e22 --out frontier.png
  scalax frontier --law hoffmann2022 --chips v5e-256 --days 1:100 --points 5"""
)
@fit_options
@click.option(
    "--flops", metavar="LOW:HIGH", help="Budgets in FLOPs: a range, or a list such as 1e20,1e21."
)
@click.option("--days", metavar="LOW:HIGH", help="Budgets in days of --chips.")
@click.option("--usd", metavar="LOW:HIGH", help="Budgets in dollars for --chips, at list price.")
@click.option(
    "--points",
    type=click.IntRange(2, 1000),
    default=11,
    show_default=True,
    metavar="COUNT",
    help="Number of budgets in a range.",
)
@click.option("--max-tokens", type=float, metavar="T", help="Tokens available; no split uses more.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FIG.png",
    help="Also draw the frontier in this file.",
)
@hardware_options
@given_option
@json_option
@plugin_option
def frontier(
    fit_file: str | None,
    law: str | None,
    flops: str | None,
    days: str | None,
    usd: str | None,
    points: int,
    max_tokens: float | None,
    out: Path | None,
    hardware: TrainingHardware | None,
    given: dict[str, float],
    as_json: bool,
) -> None:
    """Show the best size and token count over a range of budgets."""
    from scalax.budget.frontier import frontier as answers_at
    from scalax.budget.frontier import spread
    from scalax.budget.hardware import HardwareAllocation

    texts: dict[Unit, str | None] = {"flops": flops, "days": days, "usd": usd}
    chosen_units = [(unit, text) for unit, text in texts.items() if text]
    if len(chosen_units) != 1:
        raise click.UsageError(
            "expected one of --flops, --days and --usd, such as --flops 1e20:1e25"
        )
    unit, text = chosen_units[0]
    if unit != "flops" and hardware is None:
        raise click.UsageError("--days and --usd need --chips, such as --chips v5e-256")
    budgets = spread(text, points, f"--{unit}")
    answers = answers_at(
        chosen_law(fit_file, law),
        budgets,
        unit,
        hardware=hardware,
        max_tokens=max_tokens,
        given=given,
    )
    if out is not None:
        from scalax.report.frontier_figure import draw_frontier

        draw_frontier(out, budgets, answers, _LABELS[unit])
        say(f"drew {out}")
    if as_json:
        print_json([answer.to_json() for answer in answers])
        return
    headers = ["flops", "params", "tokens", "tokens/param", "loss"]
    if hardware is not None:
        headers += ["days", "usd", "utilisation", "mesh"]
    rows = []
    for a in answers:
        span = a.intervals.get("loss")
        loss = "unknown" if a.loss is None else f"{a.loss:.4g}"
        row = [
            f"{a.flops:.3g}",
            f"{a.params:.3g}",
            f"{a.tokens:.3g}",
            f"{a.tokens_per_param:.3g}",
            loss + (f" ({span[0]:.4g} to {span[1]:.4g})" if span else ""),
        ]
        if isinstance(a, HardwareAllocation):
            mesh = ",".join(f"{axis}={size}" for axis, size in a.mesh.items())
            price = "unknown" if a.usd is None else f"{a.usd:,.0f}"
            row += [f"{a.days:.3g}", price, f"{a.utilisation:.1%}", mesh]
        rows.append(row)
    table(headers, rows)
    warn(dict.fromkeys(answers[-1].notes))
