"""Drops near-duplicates, off-centre isoFLOP points and outliers; the setting ``clean`` asks for it.

The notes list the dropped rows with their reasons. `scalax.runs.clean` drops the rows that no fit
should use.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from scalax import registry
from scalax.errors import ScalaxError
from scalax.fit.budgets import budget_of
from scalax.fit.cost import Cost
from scalax.fit.ensemble import LawVariant, fit_members, log_forecast
from scalax.fit.rows import budget_column
from scalax.runs.read import SCALE_COLUMNS
from scalax.runs.table import Runs

_SAME = 1e-3
"""Log difference in every column below which rows are near-duplicates."""
_OFF_CENTRE = 10.0
"""Ratio of params to the best params of an isoFLOP from which a point is off-centre."""
_ISOFLOP_ROWS = 5
"""Least number of rows of an isoFLOP."""
_DEVIATIONS = 6.0
"""Robust standard deviations from which a row is an outlier."""
_LEAST_OUTLIER = 0.01
"""Least log residual of an outlier."""
_FEWEST = 8
"""Least number of rows in which outliers are sought."""


def drop_outliers(runs: Runs, metric: str = "loss") -> Runs:
    """Drops rows that mislead a fit.

    A near-duplicate agrees with an earlier row to a thousandth in params, tokens, flops and metric.
    A point is off-centre if its params differ more than tenfold from those of the best run of its
    budget, where the budget has five rows or more. An outlier differs by more than six robust
    standard deviations, and by more than a hundredth, from the Chinchilla form fitted to all rows.
    The tests ignore columns that the table lacks.

    Args:
        runs: A cleaned table.
        metric: The column to fit.

    Returns:
        The other rows, with a note for each reason.

    Raises:
        ScalaxError: No row is left.
    """
    runs = _drop(runs, _near_duplicates(runs, metric), "repeats an earlier row")
    runs = _drop(runs, _off_centre(runs, metric), "far off the centre of its isoFLOP")
    return _drop(runs, _outliers(runs, metric), "an outlier by its residual")


def _near_duplicates(runs: Runs, metric: str) -> np.ndarray:
    names = [name for name in SCALE_COLUMNS if name in runs]
    table = np.log(np.stack([runs[name] for name in (*names, metric)], axis=1))
    # Rows in one cell of the tolerance's width agree, so all but its first are duplicates. The
    # first may still agree with an earlier row in a neighbouring cell; a tree finds those.
    _, first = np.unique(np.floor(table / _SAME), axis=0, return_index=True)
    bad = np.ones(len(runs), bool)
    bad[first] = False
    pairs = cKDTree(table[first]).sparse_distance_matrix(
        cKDTree(table), _SAME, p=np.inf, output_type="ndarray"
    )
    bad[first[pairs["i"][pairs["j"] < first[pairs["i"]]]]] = True
    return bad


def _off_centre(runs: Runs, metric: str) -> np.ndarray:
    bad = np.zeros(len(runs), bool)
    if "params" not in runs or "flops" not in runs:
        return bad
    budget = budget_of(runs["flops"])
    order = np.argsort(budget, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(budget[order])) + 1):
        if len(rows) < _ISOFLOP_ROWS or np.ptp(np.log(runs["flops"][rows])) > 0.2:
            continue
        best = rows[np.argmin(runs[metric][rows])]
        off = np.abs(np.log(runs["params"][rows] / runs["params"][best])) > np.log(_OFF_CENTRE)
        bad[rows[off]] = True
    return bad


def _outliers(runs: Runs, metric: str) -> np.ndarray:
    names = [name for name in SCALE_COLUMNS if name in runs]
    if len(runs) < _FEWEST or not names:
        return np.zeros(len(runs), bool)
    law = registry.get("law", "chinchilla" if len(names) > 1 else f"power-{names[0]}")
    columns = {name: runs[name] for name in names}
    columns.setdefault("flops", runs[budget_column(runs) or names[0]])
    log_measured = np.log(runs[metric])
    theta = fit_members([LawVariant(law, "flat")], columns, log_measured, cost=Cost())[0]
    if theta is None:
        return np.zeros(len(runs), bool)
    residual = log_measured - log_forecast(law, theta, columns)
    deviation = np.abs(residual - np.median(residual))
    limit = max(_DEVIATIONS * 1.4826 * float(np.median(deviation)), _LEAST_OUTLIER)
    return np.asarray(deviation > limit)


def _drop(runs: Runs, bad: np.ndarray, reason: str) -> Runs:
    if not bad.any():
        return runs
    if bad.all():
        raise ScalaxError(f"every row is {reason}", where=runs.source, fix="leave out --clean")
    rows = ", ".join(map(str, runs.lines[bad].tolist()))
    return runs.where(~bad).noted(f"cleaned {int(bad.sum())}: {reason} (rows {rows})")
