"""Properties of the rows that a fit needs: weights, ranges, budgets and the compute rule."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError, suggest
from scalax.laws.base import ComputeRule, Law
from scalax.runs.read import SCALE_COLUMNS
from scalax.runs.table import Runs

Weights = Literal["flat", "compute", "flops"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
_POWER = {"flat": 0.0, "compute": 0.5, "flops": 1.0}
_RULE_TOLERANCE = 0.01


def weigh(flops: Float[np.ndarray, " rows"], weights: str) -> Float[np.ndarray, " rows"]:
    """Returns row weights of mean 1, [rows].

    Args:
        flops: Training compute of each row in FLOPs, [rows].
        weights: ``flat``: uniform; ``compute``: sqrt(FLOPs); ``flops``: FLOPs.

    Raises:
        ScalaxError: The name of the weighting is unknown.

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

    For a law of params, tokens or flops alone, it is that variable. Otherwise it is the first of
    flops, params and tokens that the table has, or None.
    """
    if law is not None and len(law.columns) == 1 and law.columns[0] in SCALE_COLUMNS:
        return law.columns[0]
    return next((name for name in ("flops", "params", "tokens") if name in runs), None)


def row_weights(runs: Runs, weights: str) -> Float[np.ndarray, " rows"]:
    """Returns the row weights [rows], from flops or, in a table without flops, params or tokens.

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
    """Returns a note if the weights use params or tokens because the table has no flops."""
    column = budget_column(runs)
    if weights == "flat" or column in ("flops", None):
        return []
    return [f"rows are weighted by {column}: the table has no flops"]


def compute_rule(runs: Runs, law: Law | None = None) -> ComputeRule:
    """Returns the rule by which params and tokens give the flops column.

    The rule is 6ND if all rows agree with it to a hundredth or a column is missing. Otherwise its
    coefficient and exponent are fitted to the rows, since the exact FLOPs of a model family are not
    quite proportional to params.

    Args:
        runs: The rows.
        law: Defines the params that a token passes through; by default all params.
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
    """Returns the least and greatest value of params, tokens and flops, where present."""
    return {
        name: [float(runs[name].min()), float(runs[name].max())]
        for name in SCALE_COLUMNS
        if name in runs
    }


def evenly(values: Float[np.ndarray, " values"], most: int = 1000) -> Float[np.ndarray, " sample"]:
    """Returns the values, or an evenly spaced sample of ``most`` of them if there are more."""
    if len(values) <= most:
        return values
    return np.asarray(values[np.linspace(0, len(values) - 1, most).round().astype(int)])
