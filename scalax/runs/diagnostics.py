"""Looks for what is probably wrong with a runs table: units above all. It warns and never stops."""

from __future__ import annotations

import math

import numpy as np

from scalax.runs.table import Runs

_SMALL_PARAMS, _SMALL_TOKENS = 1e4, 1e5
_APART = 3.0
_CHANCE = 14.0
_BITS = math.log(1 / math.log(2))
_NEAR_BITS = 0.06


def suspicions(runs: Runs, metric: str = "loss") -> list[str]:
    """Sentences about units and columns that look wrong, for a checked table.

    Args:
        runs: A checked table.
        metric: The column to be fitted.
    """
    found = []
    for name, least, unit in (
        ("params", _SMALL_PARAMS, "millions or billions of parameters"),
        ("tokens", _SMALL_TOKENS, "millions or billions of tokens"),
    ):
        low = runs[name] < least
        if low.any():
            found.append(f"{name} is below {least:g} in {_rows(runs, low)}: is it in {unit}?")
    expected = np.log10(6 * runs["params"]) + np.log10(runs["tokens"])
    ratio = np.log10(runs["flops"]) - expected
    off = np.abs(ratio) > math.log10(_APART)
    if off.any():
        found.append(
            f"flops is {10 ** min(float(np.median(ratio[off])), 300.0):.2g} times 6 x params x "
            f"tokens in "
            f"{_rows(runs, off)}: do the three columns share their units, and count one model?"
        )
    if metric != "loss":
        return found
    high = runs[metric] > _CHANCE
    if high.any():
        found.append(
            f"loss is above {_CHANCE:g} in {_rows(runs, high)}: more than chance over a million "
            "words, in nats per token; is it a perplexity, a sum, or in another unit?"
        )
    if len(runs) >= 4 and np.ptp(runs["flops"]) and np.ptp(runs[metric]):
        rises = np.corrcoef(np.log(runs["flops"]), np.log(runs[metric]))[0, 1]
        if rises > 0.5:
            found.append("loss rises with compute: is it a score, where more is better?")
    return found


def in_bits(runs: Runs, residuals: np.ndarray) -> list[str]:
    """A warning where some rows stand off from the rest as a loss in bits does from one in nats.

    Args:
        runs: The rows fitted.
        residuals: Logarithm of measured over fitted, [rows].
    """
    away = residuals - np.median(residuals)
    odd = np.abs(np.abs(away) - _BITS) < _NEAR_BITS
    rest = np.abs(away[~odd])
    if not odd.any() or odd.mean() > 0.5 or rest.size == 0 or np.median(rest) > _NEAR_BITS:
        return []
    return [
        f"the loss of {_rows(runs, odd)} stands off by a factor of 1.44: are some losses in bits "
        "and others in nats?"
    ]


def _rows(runs: Runs, mask: np.ndarray) -> str:
    rows = runs.lines[mask].tolist()
    if len(rows) == len(runs):
        return "every row"
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    return f"{len(rows)} rows ({shown})" if len(rows) > 1 else f"row {shown}"
