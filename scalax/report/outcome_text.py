"""The outcome of a sweep as lines of text."""

from __future__ import annotations

from scalax.predict.fit_result import Fit
from scalax.report.allocation_text import allocation_lines, members_by_form
from scalax.report.hyperparameter_text import tuning_lines
from scalax.report.outcome import ForecastCheck, Outcome


def outcome_lines(outcome: Outcome) -> list[str]:
    """Returns the lines that ``scalax run`` prints at the end."""
    lines = [compute_line(outcome)]
    if outcome.fit:
        lines.append(_law_line(outcome.fit))
    lines += [check_line(check, outcome.unit) for check in outcome.check]
    if outcome.tuning:
        lines += ["", *tuning_lines(outcome.tuning, outcome.unit)]
        file = f"{outcome.out}/hyperparameters.json"
        lines.append(f"to train with these laws: --set recipe.law='\"{file}\"'")
    if outcome.allocation:
        lines += ["", *allocation_lines(outcome.allocation, outcome.unit)]
    return [*lines, "", f"report: {outcome.out}/report.html"]


def compute_line(outcome: Outcome) -> str:
    """Returns the compute of a sweep in one line."""
    cost = outcome.compute
    text = f"{len(outcome.runs)} runs, {cost.flops_spent:.3g} FLOPs spent"
    if cost.saved < 0.001:
        return text
    separate = f"separate runs would have cost {cost.flops:.3g}"
    return f"{text}; {separate}: {cost.saved:.0%} saved by shared trunks"


def check_line(check: ForecastCheck, unit: str) -> str:
    """Returns a forecast, its measurement and the error of the forecast in one line."""
    point = f"check at {check.params:,} params, {check.tokens:,} {unit}"
    if check.predicted is None:
        return f"{point}: no forecast; measured {check.measured}"
    forecast = f"forecast {check.predicted:.4f}"
    if check.low is not None:
        forecast += f" ({check.low:.4f} to {check.high:.4f})"
    if check.measured is None:
        return f"{point}: {forecast}; the run diverged"
    error = check.predicted / check.measured - 1
    return f"{point}: {forecast}, measured {check.measured:.4f}, error {error:+.2%}"


def duration(seconds: float) -> str:
    """Returns a duration with its unit in words.

    Example:
        >>> duration(90), duration(7200), duration(260_000)
        ('90 seconds', '2.0 hours', '3.0 days')
    """
    for limit, size, word in ((120, 1, "seconds"), (7200, 60, "minutes"), (172800, 3600, "hours")):
        if seconds < limit:
            value = seconds / size
            return f"{value:.0f} {word}" if value >= 10 else f"{value:.1f} {word}"
    return f"{seconds / 86400:.1f} days"


def _law_line(fit: Fit) -> str:
    if fit.coefficients:
        parts = [f"{name} {value:.4g}" for name, value in fit.coefficients.items()]
    else:
        parts = [
            f"{share:.0%} {law} ({weights} weights{f', {count} draws' if count > 1 else ''})"
            for law, weights, share, count in members_by_form(fit.members)
        ]
    return f"law {fit.law}: {', '.join(parts)} ({fit.rows} runs)"
