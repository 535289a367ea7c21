"""`--clean`: takes out near-duplicates, off-centre isoFLOP points and outliers, when asked to.

Each row dropped is listed with its reason. What any fit must drop is for `scalax.runs.clean`.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from scalax import registry
from scalax.errors import ScalaxError
from scalax.fit.budgets import budget_of
from scalax.fit.cost import Cost
from scalax.fit.ensemble import Member, fit_members, log_forecast
from scalax.runs.table import Runs

_SAME = 1e-3
_OFF_CENTRE = 10.0
_ISOFLOP_ROWS = 5
_DEVIATIONS = 6.0
_LEAST_OUTLIER = 0.01
_FEWEST = 8


def tidy(runs: Runs, metric: str = "loss") -> Runs:
    """The table without rows that mislead a fit, a note for each reason.

    Near-duplicates agree with an earlier row to a thousandth in params, tokens, flops and metric.
    A point is off-centre where its params lie more than ten times from those of the least loss
    among the five or more rows of its budget. An outlier lies six robust deviations, and a
    hundredth, from the Chinchilla form fitted to the rest.

    Args:
        runs: A cleaned table.
        metric: The column to be fitted.
    """
    runs = _without(runs, _near_duplicates(runs, metric), "says what an earlier row says")
    runs = _without(runs, _off_centre(runs, metric), "far off the centre of its isoFLOP")
    return _without(runs, _outliers(runs, metric), "an outlier by its residual")


def _near_duplicates(runs: Runs, metric: str) -> np.ndarray:
    table = np.log(np.stack([runs[name] for name in ("params", "tokens", "flops", metric)], axis=1))
    # Rows of one cell, as wide as the tolerance, agree: all but its first are duplicates. The first
    # may still agree with an earlier row of a cell beside its own, which a tree finds.
    _, first = np.unique(np.floor(table / _SAME), axis=0, return_index=True)
    bad = np.ones(len(runs), bool)
    bad[first] = False
    pairs = cKDTree(table[first]).sparse_distance_matrix(
        cKDTree(table), _SAME, p=np.inf, output_type="ndarray"
    )
    bad[first[pairs["i"][pairs["j"] < first[pairs["i"]]]]] = True
    return bad


def _off_centre(runs: Runs, metric: str) -> np.ndarray:
    budget, bad = budget_of(runs["flops"]), np.zeros(len(runs), bool)
    order = np.argsort(budget, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(budget[order])) + 1):
        if len(rows) < _ISOFLOP_ROWS or np.ptp(np.log(runs["flops"][rows])) > 0.2:
            continue
        best = rows[np.argmin(runs[metric][rows])]
        off = np.abs(np.log(runs["params"][rows] / runs["params"][best])) > np.log(_OFF_CENTRE)
        bad[rows[off]] = True
    return bad


def _outliers(runs: Runs, metric: str) -> np.ndarray:
    if len(runs) < _FEWEST:
        return np.zeros(len(runs), bool)
    law = registry.get("law", "chinchilla")
    columns = {name: runs[name] for name in ("params", "tokens", "flops")}
    log_measured = np.log(runs[metric])
    theta = fit_members([Member(law, "flat")], columns, log_measured, cost=Cost())[0]
    if theta is None:
        return np.zeros(len(runs), bool)
    r = log_measured - log_forecast(law, theta, columns)
    away = np.abs(r - np.median(r))
    limit = max(_DEVIATIONS * 1.4826 * float(np.median(away)), _LEAST_OUTLIER)
    return np.asarray(away > limit)


def _without(runs: Runs, bad: np.ndarray, reason: str) -> Runs:
    if not bad.any():
        return runs
    if bad.all():
        raise ScalaxError(f"every row is {reason}", where=runs.source, fix="leave out --clean")
    rows = ", ".join(map(str, runs.lines[bad].tolist()))
    return runs.where(~bad).noted(f"cleaned {int(bad.sum())}: {reason} (rows {rows})")
