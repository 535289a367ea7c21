"""Reads off the rows what a fit needs first: weights, budgets, ranges and the compute rule."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from scalax.errors import ScalaxError, suggest
from scalax.laws.base import ComputeRule, Law
from scalax.runs.read import SCALE_COLUMNS
from scalax.runs.table import Runs

Weights = Literal["flat", "compute", "flops"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
_POWER = {"flat": 0.0, "compute": 0.5, "flops": 1.0}
_RULE_TOLERANCE = 0.01


def weigh(flops: np.ndarray, weights: str) -> np.ndarray:
    """Returns row weights of mean 1.

    Args:
        flops: [rows].
        weights: ``flat``: uniform; ``compute``: sqrt(FLOPs); ``flops``: FLOPs.

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


def budget_column(runs: Runs, law: Law | None = None) -> str | None:
    """Returns the column whose largest values a backtest hides.

    It is the variable of a law of params, tokens or flops alone; otherwise flops, or the one of
    params and tokens that the table has; None where it has none of them.
    """
    if law is not None and len(law.columns) == 1 and law.columns[0] in SCALE_COLUMNS:
        return law.columns[0]
    return next((name for name in ("flops", "params", "tokens") if name in runs), None)


def row_weights(runs: Runs, weights: str) -> np.ndarray:
    """Returns the weights of rows, [rows], by flops or, without it, by params or tokens.

    Raises:
        ScalaxError: The table has no such column, and the weights are not uniform.
    """
    column = budget_column(runs)
    if column is None:
        if weights == "flat":
            return np.ones(len(runs))
        raise ScalaxError(
            f"{weights!r} needs flops, params or tokens in the table",
            where="weights",
            fix='leave it "flat", or map one: --columns flops=THEIR_NAME',
        )
    return weigh(runs[column], weights)


def weights_note(runs: Runs, weights: str) -> list[str]:
    """Returns a note where the weights use another column because the table has no flops."""
    column = budget_column(runs)
    if weights == "flat" or column in ("flops", None):
        return []
    return [f"rows are weighted by {column}: the table has no flops"]


def compute_rule(runs: Runs, law: Law | None = None) -> ComputeRule:
    """Returns the rule by which params and tokens give the flops column.

    It is 6ND where all rows agree with it to a hundredth, or where a column is missing; otherwise
    the coefficient and the exponent of params that describe the rows best, which is how the exact
    count of a model family grows over their range.

    Args:
        runs: The rows.
        law: Defines the params that a token passes through; all of them by default.
    """
    if not all(name in runs for name in SCALE_COLUMNS):
        return ComputeRule()
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
    if not 0.5 <= exponent <= 1.5:  # the flops column does not look like training compute
        exponent = 1.0
    level = float(np.mean(np.log(per_token) - exponent * log_params))
    return ComputeRule(coefficient=math.exp(level), exponent=exponent)


def ranges(runs: Runs) -> dict[str, list[float]]:
    """Returns ``{column: [least, greatest]}`` of params, tokens and flops, where present."""
    return {
        name: [float(runs[name].min()), float(runs[name].max())]
        for name in SCALE_COLUMNS
        if name in runs
    }


def evenly(values: np.ndarray, most: int = 1000) -> np.ndarray:
    """Returns at most so many of the values, evenly spaced."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).round().astype(int)])
