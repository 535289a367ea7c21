"""The laws of learning rate and batch as lines of text and as rows of tables."""

from __future__ import annotations

from dataclasses import asdict

from scalax.fit.hyperparameters import TunedLaw, Tuning

_NUMBERS = {"coefficient": "coefficient", "params": "exponent of N", "tokens": "exponent of D"}
_LABELS = {"learning_rate": "best learning rate", "batch_tokens": "best batch"}


def tuning_lines(tuning: Tuning, unit: str) -> list[str]:
    """Returns each law in one line, with the intervals of its exponents.

    Args:
        tuning: The laws.
        unit: Unit of the training data, such as ``tokens``.
    """
    lines = []
    for name, law in _laws(tuning).items():
        intervals = [
            f"{symbol} {low:.3g} to {high:.3g}"
            for key, symbol in (("params", "N"), ("tokens", "D"))
            if key in law.intervals
            for low, high in [law.intervals[key]]
        ]
        size = f" {unit}" if name == "batch_tokens" else ""
        suffix = f"  ({tuning.level:.0%}: {', '.join(intervals)})" if intervals else ""
        lines.append(f"{_LABELS[name]:<20}{law.law.equation}{size}{suffix}")
    return [*lines, f"{'':<20}from {len(tuning.optima)} optima"]


def law_rows(tuning: Tuning) -> list[list[str]]:
    """Returns one row for each number of a law: law, number, estimate and interval."""
    rows = []
    for name, law in _laws(tuning).items():
        for key, label in _NUMBERS.items():
            value = asdict(law.law)[key]
            if key == "coefficient" or value:
                interval = " to ".join(f"{end:.4g}" for end in law.intervals.get(key, ()))
                rows.append([_LABELS[name], label, f"{value:.5g}", interval])
    return rows


def optimum_rows(tuning: Tuning, unit: str) -> tuple[list[str], list[list[str]]]:
    """Returns headers and one row for each point: size, data and the best settings there."""
    names = list(_laws(tuning))
    headers = ["params", unit, *(_LABELS[name] for name in names), "loss", "runs"]
    rows = []
    for optimum in tuning.optima:
        best = [getattr(optimum, name) for name in names]
        rows.append(
            [
                f"{optimum.params:,.0f}",
                f"{optimum.tokens:,.0f}",
                *("" if value is None else f"{value:.4g}" for value in best),
                f"{optimum.loss:.4f}",
                str(optimum.rows),
            ]
        )
    return headers, rows


def _laws(tuning: Tuning) -> dict[str, TunedLaw]:
    laws = {"learning_rate": tuning.learning_rate, "batch_tokens": tuning.batch_tokens}
    return {name: law for name, law in laws.items() if law is not None}
