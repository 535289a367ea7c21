"""The laws of learning rate and batch in words and as rows of tables."""

from __future__ import annotations

from typing import Any

from scalax.laws.hyperparameters import PowerProduct

_SYMBOLS = {"coefficient": "coefficient", "params": "exponent of N", "tokens": "exponent of D"}
_NAMES = {"learning_rate": "best learning rate", "batch_tokens": "best batch"}


def tuning_lines(tuning: dict[str, Any], unit: str) -> list[str]:
    """Each law in a line, with the intervals of its exponents.

    Args:
        tuning: As `scalax.fit.hyperparameters.Tuning.to_json`.
        unit: What data is counted in.
    """
    lines = []
    for name, label in _NAMES.items():
        found = tuning[name]
        if found is None:
            continue
        told = [
            f"{symbol} {low:.3g} to {high:.3g}"
            for key, symbol in (("params", "N"), ("tokens", "D"))
            if key in found["intervals"]
            for low, high in [found["intervals"][key]]
        ]
        size = f" {unit}" if name == "batch_tokens" else ""
        spans = f"  ({tuning['level']:.0%}: {', '.join(told)})" if told else ""
        lines.append(f"{label:<20}{_equation(found)}{size}{spans}")
    return [*lines, f"{'':<20}from {len(tuning['optima'])} optima"]


def law_rows(tuning: dict[str, Any]) -> list[list[str]]:
    """A row a number: law, number, estimate, interval."""
    rows = []
    for name, label in _NAMES.items():
        found = tuning[name] or {}
        for key, symbol in _SYMBOLS.items():
            if key in found:
                span = found["intervals"].get(key, ())
                ends = " to ".join(f"{end:.4g}" for end in span)
                rows.append([label, symbol, f"{found[key]:.5g}", ends])
    return rows


def optimum_rows(tuning: dict[str, Any], unit: str) -> tuple[list[str], list[list[str]]]:
    """Headers, and a row a point: size, data, and the best of what was varied."""
    names = [name for name in _NAMES if tuning[name]]
    heads = ["params", unit, *(_NAMES[name] for name in names), "loss", "runs"]
    rows = [
        [
            f"{at['params']:,.0f}",
            f"{at['tokens']:,.0f}",
            *("" if at[name] is None else f"{at[name]:.4g}" for name in names),
            f"{at['loss']:.4f}",
            str(at["rows"]),
        ]
        for at in tuning["optima"]
    ]
    return heads, rows


def _equation(found: dict[str, Any]) -> str:
    keys = ("coefficient", "params", "tokens")
    return PowerProduct(**{key: found[key] for key in keys if key in found}).equation
