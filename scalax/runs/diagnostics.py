"""Warnings about columns of a runs table that look wrong, above all in their units.

They stop no fit and change no row.
"""

from __future__ import annotations

import math

import numpy as np

from scalax.array_types import Bool, Float
from scalax.runs.table import Runs

_SMALL = {"params": 1e4, "tokens": 1e5}
"""Values below which a column may be in millions, where another column contradicts it."""
_TOO_SMALL = 1e3
"""Value below which a column is taken to be in millions, whatever the other columns say."""
_TOKENS_PER_PARAM = (1e-2, 1e5)
"""Tokens per parameter outside which params and tokens contradict each other."""
_MILLIONS_FACTOR = 1e5
"""Ratio of flops to 6ND that a column in millions explains, but no architecture."""
_FLOPS_FACTOR = 3.0
"""Ratio of flops to 6ND from which the two disagree."""
_CHANCE = 14.0
"""Loss of a uniform guess over a million words, in nats per token."""
_LOG_BITS_PER_NAT = math.log(1 / math.log(2))
_BITS_TOLERANCE = 0.06


def unit_warnings(runs: Runs, metric: str = "loss") -> list[str]:
    """Returns warnings about units and columns that look wrong.

    Small runs are legitimate: a small value is reported only if it is below a thousand or if
    another column contradicts it.

    Args:
        runs: A checked table.
        metric: The column to fit.
    """
    warnings = []
    for name, unit in (("params", "parameters"), ("tokens", "tokens")):
        if name in runs and (low := _in_millions(runs, name)).any():
            warnings.append(
                f"{name} is {runs[name][low].max():.3g} or less in {_rows(runs, low)}: is it in "
                f"millions or billions of {unit}?"
            )
    if all(name in runs for name in ("params", "tokens", "flops")):
        warnings += _flops_warnings(runs)
    if metric == "loss":
        warnings += _loss_warnings(runs)
    return warnings


def _in_millions(runs: Runs, name: str) -> Bool[np.ndarray, " rows"]:
    """Returns which rows of ``params`` or ``tokens`` seem to be in millions or billions."""
    values = runs[name]
    contradicted = np.zeros(len(runs), bool)
    if "params" in runs and "tokens" in runs:
        ratio = runs["tokens"] / runs["params"]
        least, greatest = _TOKENS_PER_PARAM
        contradicted |= ratio > greatest if name == "params" else ratio < least
        if "flops" in runs:
            contradicted |= _log_flops_ratio(runs) > math.log10(_MILLIONS_FACTOR)
    return (values < _TOO_SMALL) | (contradicted & (values < _SMALL[name]))


def bits_warnings(runs: Runs, residuals: Float[np.ndarray, " rows"]) -> list[str]:
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
    ratio = _log_flops_ratio(runs)
    off = np.abs(ratio) > math.log10(_FLOPS_FACTOR)
    if not off.any():
        return []
    return [
        f"flops is {10 ** min(float(np.median(ratio[off])), 300.0):.2g} times 6 x params x "
        f"tokens in {_rows(runs, off)}: do the three columns have the right units and describe the "
        "same model?"
    ]


def _log_flops_ratio(runs: Runs) -> Float[np.ndarray, " rows"]:
    """Returns log10 of flops / 6ND."""
    expected = np.log10(6 * runs["params"]) + np.log10(runs["tokens"])
    return np.asarray(np.log10(runs["flops"]) - expected)


def _loss_warnings(runs: Runs) -> list[str]:
    warnings = []
    high = runs["loss"] > _CHANCE
    if high.any():
        warnings.append(
            f"loss is above {_CHANCE:g} in {_rows(runs, high)}, the loss of a uniform guess over a "
            "million words in nats per token: is it a perplexity, a sum, or in another unit?"
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
