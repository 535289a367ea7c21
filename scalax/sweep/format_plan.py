"""Formats a plan as a summary, as a table and as JSON, before any run is trained."""

from __future__ import annotations

from typing import Any

from scalax.hardware.host import expected_seconds
from scalax.report.outcome_text import duration
from scalax.sweep.plan import Plan


def plan_rows(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Returns the plan as a table: the headers, and one row for each run."""
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
    """Returns the number of runs, their compute, the expected time and the data in one line."""
    spent = sum(run.flops_spent for run in plan.runs)
    separate = sum(run.flops for run in plan.runs)
    saved = f" ({separate:.3g} without shared trunks)" if separate > 1.001 * spent else ""
    seconds = _seconds(plan)
    time = (
        f"about {duration(seconds)} of training on this machine" if seconds else "time unknown here"
    )
    return (
        f"{len(plan.fitted)} runs and {len(plan.check_runs)} to check, "
        f"{spent:.3g} FLOPs{saved}, {time}; data {plan.data.name}, "
        f"{plan.data.train_examples * plan.data.units_per_example:,} distinct {plan.data.unit}"
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """Returns the plan as ``scalax run --dry-run --json`` prints it."""
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
                "trunk": run.trunk_name,
                "steps": run.spec.steps,
            }
            for run in plan.runs
        ],
        "flops": spent,
        "seconds": _seconds(plan),
        "data": plan.data.to_json(),
    }


def _seconds(plan: Plan) -> float | None:
    return expected_seconds((run.flops_spent, run.flops / run.spec.units) for run in plan.runs)
