"""What a fit reads off the rows before it starts: their weights, and how they count compute."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from scalax.errors import ScalaxError, suggest
from scalax.laws.base import ComputeRule, Law
from scalax.runs.table import Runs

Weights = Literal["flat", "compute", "flops"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
_POWER = {"flat": 0.0, "compute": 0.5, "flops": 1.0}
_RULE_TOLERANCE = 0.01


def weigh(flops: np.ndarray, weights: str) -> np.ndarray:
    """Row weights of mean 1.

    Args:
        flops: [rows].
        weights: ``flat``: all equal; ``compute``: by the square root of flops; ``flops``: by flops.

    Raises:
        ScalaxError: No such weighting.

    Example:
        >>> weigh(np.array([1e18, 9e18]), "compute").tolist()
        [0.5, 1.5]
    """
    if weights not in _POWER:
        raise ScalaxError(
            f"unknown weights {weights!r}", where="weights", fix=suggest(weights, WEIGHTS)
        )
    raised = (flops / flops.max()) ** _POWER[weights]
    return np.asarray(raised / raised.mean())


def compute_rule(runs: Runs, law: Law | None = None) -> ComputeRule:
    """How the params that a token passes through, and tokens, made up the flops column.

    6ND where all rows agree with it to a hundredth; else the coefficient and exponent of params
    that describe the rows best, which is how a family's exact count grows over their range.

    Args:
        runs: The rows.
        law: Says which params a token passes through; all of them by default.
    """
    params = law.params_computed(law.complete(runs.columns)) if law else runs["params"]
    per_token = runs["flops"] / runs["tokens"]
    if np.all(np.abs(per_token / (6 * params) - 1) <= _RULE_TOLERANCE):
        return ComputeRule()
    log_params = np.log(params)
    centred = log_params - log_params.mean()
    spread = float(np.sum(centred**2))
    exponent = 1.0
    if spread > 1e-6:
        exponent = float(np.sum(centred * np.log(per_token)) / spread)
    if not 0.5 <= exponent <= 1.5:  # rows that do not look like training compute at all
        exponent = 1.0
    level = float(np.mean(np.log(per_token) - exponent * log_params))
    return ComputeRule(coefficient=math.exp(level), exponent=exponent)


def ranges(runs: Runs) -> dict[str, list[float]]:
    """``{column: [least, greatest]}`` of params, tokens and flops."""
    return {
        name: [float(runs[name].min()), float(runs[name].max())]
        for name in ("params", "tokens", "flops")
    }


def evenly(values: np.ndarray, most: int = 1000) -> np.ndarray:
    """At most so many of the values, evenly picked."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).round().astype(int)])
