"""Warns about columns of a runs table that look wrong, above all in their units.

It never stops a fit and never changes a row.
"""

from __future__ import annotations

import math

import numpy as np

from scalax.runs.table import Runs

_SMALL_PARAMS, _SMALL_TOKENS = 1e4, 1e5
_FLOPS_FACTOR = 3.0
_CHANCE = 14.0
_LOG_BITS_PER_NAT = math.log(1 / math.log(2))
_BITS_TOLERANCE = 0.06


def unit_warnings(runs: Runs, metric: str = "loss") -> list[str]:
    """Returns warnings about units and columns that look wrong.

    Args:
        runs: A checked table.
        metric: The column to fit.
    """
    warnings = []
    for name, least, unit in (
        ("params", _SMALL_PARAMS, "millions or billions of parameters"),
        ("tokens", _SMALL_TOKENS, "millions or billions of tokens"),
    ):
        if name in runs and (low := runs[name] < least).any():
            warnings.append(f"{name} is below {least:g} in {_rows(runs, low)}: is it in {unit}?")
    if all(name in runs for name in ("params", "tokens", "flops")):
        warnings += _flops_warnings(runs)
    if metric == "loss":
        warnings += _loss_warnings(runs)
    return warnings


def bits_warnings(runs: Runs, residuals: np.ndarray) -> list[str]:
    """Returns a warning where some losses seem to be in bits and the others in nats.

    Args:
        runs: The rows fitted.
        residuals: Logarithm of measured over fitted loss, [rows].
    """
    deviation = residuals - np.median(residuals)
    odd = np.abs(np.abs(deviation) - _LOG_BITS_PER_NAT) < _BITS_TOLERANCE
    rest = np.abs(deviation[~odd])
    if not odd.any() or odd.mean() > 0.5 or rest.size == 0 or np.median(rest) > _BITS_TOLERANCE:
        return []
    return [
        f"the loss of {_rows(runs, odd)} differs from the others by a factor of 1.44: are some "
        "losses in bits and others in nats?"
    ]


def _flops_warnings(runs: Runs) -> list[str]:
    expected = np.log10(6 * runs["params"]) + np.log10(runs["tokens"])
    ratio = np.log10(runs["flops"]) - expected
    off = np.abs(ratio) > math.log10(_FLOPS_FACTOR)
    if not off.any():
        return []
    return [
        f"flops is {10 ** min(float(np.median(ratio[off])), 300.0):.2g} times 6 x params x "
        f"tokens in {_rows(runs, off)}: do the three columns share their units, and describe one "
        "model?"
    ]


def _loss_warnings(runs: Runs) -> list[str]:
    warnings = []
    high = runs["loss"] > _CHANCE
    if high.any():
        warnings.append(
            f"loss is above {_CHANCE:g} in {_rows(runs, high)}, more than that of a uniform guess "
            "over a million words in nats per token: is it a perplexity, a sum, or in another unit?"
        )
    if "flops" in runs and len(runs) >= 4 and np.ptp(runs["flops"]) and np.ptp(runs["loss"]):
        correlation = np.corrcoef(np.log(runs["flops"]), np.log(runs["loss"]))[0, 1]
        if correlation > 0.5:
            warnings.append("loss rises with compute: is it a score, where more is better?")
    return warnings


def _rows(runs: Runs, mask: np.ndarray) -> str:
    rows = runs.lines[mask].tolist()
    if len(rows) == len(runs):
        return "every row"
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    return f"{len(rows)} rows ({shown})" if len(rows) > 1 else f"row {shown}"
