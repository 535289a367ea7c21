"""Classical estimates of N*(C) from runs, to compare with the parametric fit.

They are approaches 1 and 2 of Hoffmann et al. 2022 (arXiv:2203.15556), section 3: the envelope of
training curves, and isoFLOP parabolas. Both give N* as a function of compute; neither predicts a
loss.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.budgets import budget_of
from scalax.fit.rows import compute_rule
from scalax.runs.table import Runs

METHODS = ("isoflop", "envelope")
_FEWEST_POINTS = 3
"""Least number of sizes at a budget for a parabola."""
_BINS_PER_DECADE = 10
"""Bins of compute of the envelope."""

_BIAS = {
    "isoflop": "a parabola in log params is symmetric, an isoFLOP is not: if its points are "
    "off-centre, or alpha and beta differ, N* is biased towards the flatter side",
    "envelope": "losses must be read where a run's schedule ends: an envelope over mid-training "
    "losses is biased towards small models, and N* moves in steps of the sizes run",
}


@dataclass(frozen=True)
class Split:
    """The growth of the best size with compute: N* = coefficient * flops ** exponent.

    Attributes:
        method: ``isoflop`` or ``envelope``.
        exponent: Exponent of N* in compute.
        coefficient: N* at one FLOP.
        tokens_exponent: Exponent of D*, which follows from the compute rule.
        points: ``[flops, params]`` of the minima that the line is fitted to.
        notes: The known bias of the method, and the budgets that were left out with the reason.
    """

    method: str
    exponent: float
    coefficient: float
    tokens_exponent: float
    points: list[list[float]]
    notes: list[str]

    def params(self, flops: float) -> float:
        """Returns N* at a budget in FLOPs."""
        return float(self.coefficient * flops**self.exponent)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)


def classical_split(runs: Runs, method: str, metric: str = "loss") -> Split:
    """Fits N*(C) by a classical method.

    Args:
        runs: A prepared table with params, tokens, flops and the metric. The envelope also accepts
            rows from the middle of a training.
        method: ``isoflop`` or ``envelope``.
        metric: The column to minimise.

    Raises:
        ScalaxError: Fewer than two budgets have a minimum.

    Example:
        >>> flops = np.repeat([1e18, 1e19, 1e20], 5)
        >>> best = 0.1 * np.sqrt(flops)
        >>> params = best * np.tile([0.25, 0.5, 1, 2, 4], 3)
        >>> loss = np.exp(0.1 * np.log(params / best) ** 2)
        >>> x = {"params": params, "tokens": flops / 6 / params, "flops": flops, "loss": loss}
        >>> round(classical_split(Runs.from_columns(x), "isoflop").exponent, 6)
        0.5
    """
    if method not in METHODS:
        raise ScalaxError(f"expected one of {', '.join(METHODS)}, got {method!r}", where="method")
    points, notes = _minima(runs, metric) if method == "isoflop" else _envelope(runs, metric)
    if len(points) < 2:
        raise ScalaxError(
            f"{len(points)} budgets with minima (expected 2 or more)",
            where=f"{runs.source}: {method}",
            fix="give runs at several sizes for each of several budgets",
        )
    log_flops, log_params = np.log(np.asarray(points)).T
    exponent, level = np.polyfit(log_flops, log_params, 1)
    rule = compute_rule(runs)
    return Split(
        method=method,
        exponent=float(exponent),
        coefficient=math.exp(level),
        tokens_exponent=float(1 - rule.exponent * exponent),
        points=points,
        notes=[_BIAS[method], *notes],
    )


def _minima(runs: Runs, metric: str) -> tuple[list[list[float]], list[str]]:
    budget, points, notes = budget_of(runs["flops"]), [], []
    for number in range(int(budget.max()) + 1):
        rows = budget == number
        flops = float(np.median(runs["flops"][rows]))
        n, loss = np.log(runs["params"][rows]), np.log(runs[metric][rows])
        if len(np.unique(n)) < _FEWEST_POINTS:
            notes.append(f"{flops:.3g} FLOPs: fewer than {_FEWEST_POINTS} sizes")
            continue
        centre = n.mean()
        bend, slope, _ = np.polyfit(n - centre, loss, 2)
        best = centre - slope / (2 * bend) if bend > 0 else math.nan
        if n.min() <= best <= n.max():
            points.append([flops, math.exp(best)])
        else:
            notes.append(f"{flops:.3g} FLOPs: no minimum among the sizes run")
    return points, notes


def _envelope(runs: Runs, metric: str) -> tuple[list[list[float]], list[str]]:
    bins = np.floor(np.log10(runs["flops"]) * _BINS_PER_DECADE).astype(int)
    points, least = [], math.inf
    for number in np.unique(bins):
        rows = np.flatnonzero(bins == number)
        best = rows[np.argmin(runs[metric][rows])]
        if runs[metric][best] < least:  # a bin above an earlier one is not on the envelope
            least = float(runs[metric][best])
            points.append([float(runs["flops"][best]), float(runs["params"][best])])
    return points, []
