"""A sweep's outcome as lines of text."""

from __future__ import annotations

from typing import Any

from scalax.predict.answers import Allocation
from scalax.report.words import allocation_lines


def outcome_lines(outcome: dict[str, Any], allocation: Allocation | None, unit: str) -> list[str]:
    """What an experiment came to."""
    lines = []
    fit = outcome["fit"]
    if fit:
        if fit["coefficients"]:
            named = ", ".join(f"{name} {v:.4g}" for name, v in fit["coefficients"].items())
        else:
            named = ", ".join(
                f"{m['share']:.0%} {m['law']} ({m['weights']} weights)" for m in fit["members"]
            )
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
