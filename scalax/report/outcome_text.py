"""A sweep's outcome as lines of text."""

from __future__ import annotations

from typing import Any

from scalax.predict.answers import Allocation
from scalax.predict.ensemble_law import EnsembleMember
from scalax.report.allocation_text import allocation_lines, members_by_form
from scalax.report.hyperparameter_text import tuning_lines


def outcome_lines(outcome: dict[str, Any], allocation: Allocation | None, unit: str) -> list[str]:
    """What an experiment came to."""
    lines = [compute_line(outcome["runs"])]
    fit = outcome["fit"]
    if fit:
        if fit["coefficients"]:
            named = ", ".join(f"{name} {v:.4g}" for name, v in fit["coefficients"].items())
        else:
            named = ", ".join(
                f"{share:.0%} {law} ({weights} weights{f', {count} draws' if count > 1 else ''})"
                for law, weights, share, count in members_by_form(
                    EnsembleMember(**m) for m in fit["members"]
                )
            )
        lines.append(f"law {fit['law']}: {named} ({fit['rows']} runs)")
    lines += [check_line(check, unit) for check in outcome["check"]]
    if outcome["hyperparameters"]:
        lines += ["", *tuning_lines(outcome["hyperparameters"], unit)]
        file = f"{outcome['out']}/hyperparameters.json"
        lines.append(f"to train by them: --set recipe.law='\"{file}\"'")
    if allocation:
        lines += ["", *allocation_lines(allocation, unit)]
    return [*lines, "", f"report: {outcome['out']}/report.html"]


def compute_spent(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the runs cost together, and what they would have cost trained apart.

    Args:
        rows: Of a sweep's table.

    Returns:
        ``flops`` of separate runs, ``flops_spent`` on trunks and branches, both in FLOPs, and
        ``saved``, the share of the first that sharing trunks saved.

    Example:
        >>> compute_spent([{"flops": 4e9, "flops_spent": 4e9}, {"flops": 6e9, "flops_spent": 1e9}])
        {'flops': 10000000000.0, 'flops_spent': 5000000000.0, 'saved': 0.5}
    """
    alone = float(sum(row["flops"] for row in rows))
    spent = float(sum(row["flops_spent"] for row in rows))
    return {"flops": alone, "flops_spent": spent, "saved": 1 - spent / alone if alone else 0.0}


def compute_line(rows: list[dict[str, Any]]) -> str:
    """`compute_spent` in words."""
    cost = compute_spent(rows)
    text = f"{len(rows)} runs, {cost['flops_spent']:.3g} FLOPs spent"
    if cost["saved"] < 0.001:
        return text
    apart = f"separate runs would have cost {cost['flops']:.3g}"
    return f"{text}; {apart}: {cost['saved']:.0%} saved by shared trunks"


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
