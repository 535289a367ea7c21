"""A sweep's plan and its outcome as lines of text."""

from __future__ import annotations

from typing import Any

from scalax.hardware.host import expected_seconds
from scalax.predict.answers import Allocation
from scalax.report.words import allocation_lines
from scalax.sweep.expand import Plan


def plan_rows(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """The plan as a table: headers, and a row a run."""
    headers = ["run", "params", plan.data.unit, "FLOPs", "steps", "batch", "learning rate"]
    rows = [
        [
            run.name,
            f"{run.counts.params:,}",
            f"{run.spec.units:,}",
            f"{run.flops:.3g}",
            f"{run.spec.steps:,}",
            f"{run.spec.units_per_step:,}",
            f"{run.spec.recipe.learning_rate:.3g}",
        ]
        for run in plan.runs
    ]
    return headers, rows


def plan_summary(plan: Plan) -> str:
    """The plan in one line: how much of everything."""
    spent = sum(run.flops_spent for run in plan.runs)
    alone = sum(run.flops for run in plan.runs)
    saved = f" ({alone:.3g} without shared trunks)" if alone > 1.001 * spent else ""
    seconds = expected_seconds(spent)
    took = (
        f"about {duration(seconds)} of training on this machine" if seconds else "time unknown here"
    )
    checks = sum(len(group.runs) for group in plan.checks)
    return (
        f"{len(plan.fitted)} runs and {checks} to check, {spent:.3g} FLOPs{saved}, {took}; "
        f"data {plan.data.name}, {plan.data.train_examples * plan.data.units_per_example:,} "
        f"distinct {plan.data.unit}"
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    spent = sum(run.flops_spent for run in plan.runs)
    return {
        "runs": [
            {
                "name": run.name,
                "role": run.role,
                "params": run.counts.params,
                "tokens": run.spec.units,
                "flops": run.flops,
                "flops_spent": run.flops_spent,
                "trunk": run.trunk,
                "steps": run.spec.steps,
            }
            for run in plan.runs
        ],
        "flops": spent,
        "seconds": expected_seconds(spent),
        "data": plan.data.to_json(),
    }


def outcome_lines(outcome: dict[str, Any], allocation: Allocation | None, unit: str) -> list[str]:
    """What an experiment came to."""
    lines = []
    fit = outcome["fit"]
    if fit:
        shown = fit["coefficients"] or {m["law"]: m["share"] for m in fit["members"]}
        named = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        lines.append(f"law {fit['law']}: {named} ({fit['rows']} runs)")
    lines += [check_line(check, unit) for check in outcome["check"]]
    if allocation:
        lines += ["", *allocation_lines(allocation, unit)]
    return [*lines, "", f"report: {outcome['out']}/report.html"]


def check_line(check: dict[str, Any], unit: str) -> str:
    """A forecast held against its measurement."""
    at = f"check at {check['params']:,} params, {check['tokens']:,} {unit}"
    if check["predicted"] is None:
        return f"{at}: no forecast; measured {check['measured']}"
    forecast = f"forecast {check['predicted']:.4f}"
    if check["low"] is not None:
        forecast += f" ({check['low']:.4f} to {check['high']:.4f})"
    if check["measured"] is None:
        return f"{at}: {forecast}; the run diverged"
    error = check["predicted"] / check["measured"] - 1
    return f"{at}: {forecast}, measured {check['measured']:.4f}, error {error:+.2%}"


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration(90), duration(7200), duration(260_000)
        ('90 seconds', '2.0 hours', '3.0 days')
    """
    for limit, size, word in ((120, 1, "seconds"), (7200, 60, "minutes"), (172800, 3600, "hours")):
        if seconds < limit:
            value = seconds / size
            return f"{value:.0f} {word}" if value >= 10 else f"{value:.1f} {word}"
    return f"{seconds / 86400:.1f} days"
