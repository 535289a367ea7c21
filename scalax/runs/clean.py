"""Drops the rows of a runs table that no fit should use, and lists them with their reasons.

By default only diverged runs, check runs and exact duplicates are dropped. Numbers never change.
"""

from __future__ import annotations

import numpy as np

from scalax.errors import ScalaxError
from scalax.runs.table import Runs

_TUNED = ("learning_rate", "batch", "weight_decay", "warmup", "beta1", "beta2")
"""Numeric settings whose best value may be beyond the range tried. Seeds have no such range."""


def clean(runs: Runs, *, metric: str = "loss", drop_worst: int = 0) -> Runs:
    """Drops check runs, diverged runs, exact duplicates and the worst rows.

    Args:
        runs: A checked table.
        metric: The column to fit.
        drop_worst: Number of rows with the highest metric to drop as well.

    Returns:
        The other rows, with a note for each reason that rows were dropped.

    Raises:
        ScalaxError: ``drop_worst`` is negative, or no row is left.
    """
    if drop_worst < 0:
        raise ScalaxError(
            f"expected 0 or more, got {drop_worst}", where="drop_worst", fix="give 0 to keep all"
        )
    if "role" in runs:  # check runs test a fit and are never part of one
        runs = runs.where(np.asarray([str(v) != "check" for v in runs["role"]], bool))
    if "status" in runs:
        diverged = np.asarray([str(v) == "diverged" for v in runs["status"]], bool)
        runs = _drop(runs, diverged, "diverged runs")
    runs = _drop(runs, _repeated(runs), "exact duplicates")
    if drop_worst:
        worst = np.zeros(len(runs), bool)
        worst[np.argsort(runs[metric], kind="stable")[::-1][:drop_worst]] = True
        runs = _drop(runs, worst, f"the {drop_worst} of the highest {metric}")
    if not len(runs):
        raise ScalaxError("no row is left to fit", where=runs.source, fix="; ".join(runs.notes))
    return runs


def best_per_point(runs: Runs, metric: str = "loss") -> Runs:
    """Keeps the best run of each point: of each planned size and amount of data.

    A point is a pair of ``target_params`` and ``target_tokens``: unlike ``tokens``, the target does
    not depend on the batch size. Runs that repeat data are at one point only if they have the same
    ``unique_tokens``. A table without targets is returned unchanged. The best run has the least
    held-out loss, whatever metric is fitted.

    Args:
        runs: A cleaned table.
        metric: The column to minimise in a table without ``loss``.

    Returns:
        One row per point. A note lists each point with its best setting at the edge of the settings
        tried: the optimum may be beyond it.
    """
    if "target_params" not in runs or "target_tokens" not in runs:
        return runs
    loss = runs["loss" if "loss" in runs else metric]
    points: dict[tuple[float, float, float], list[int]] = {}
    distinct = np.full(len(runs), np.inf)
    if "unique_tokens" in runs:
        repeated = runs["unique_tokens"] < runs["tokens"]
        distinct[repeated] = runs["unique_tokens"][repeated]
    columns = (runs["target_params"], runs["target_tokens"], distinct)
    planned = zip(*(column.tolist() for column in columns), strict=True)
    for index, point in enumerate(planned):
        points.setdefault(point, []).append(index)
    if len(points) == len(runs):
        return runs
    best = {point: min(rows, key=lambda i: float(loss[i])) for point, rows in points.items()}
    notes = [
        f"{len(runs) - len(best)} runs set aside: the same point has a run with better settings"
    ]
    for axis in _TUNED:
        if axis not in runs:
            continue
        for (params, tokens, unique), row in best.items():
            tried = runs[axis][points[params, tokens, unique]]
            value = runs[axis][row]
            if len(set(tried.tolist())) > 1 and value in (tried.min(), tried.max()):
                notes.append(
                    f"the best {axis} for params {params:g}, tokens {tokens:g} is {value:g}, "
                    "on the edge of those tried"
                )
    return runs.where(np.asarray(sorted(best.values()))).noted(*notes)


def _repeated(runs: Runs) -> np.ndarray:
    """Marks each row that equals an earlier one in every column."""
    key = np.zeros(len(runs), np.uint64)
    for values in runs.columns.values():
        if values.dtype == object:
            hashes = np.asarray([hash(str(v)) & 0xFFFFFFFFFFFFFFFF for v in values], np.uint64)
        else:
            hashes = values.view(np.uint64)
        key = (key ^ hashes) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    candidates = np.flatnonzero(first[group] != np.arange(len(runs)))
    repeated = np.zeros(len(runs), bool)
    for row in candidates:  # equal hashes almost always mean equal rows; compare to be certain
        other = first[group[row]]
        repeated[row] = all(repr(v[row]) == repr(v[other]) for v in runs.columns.values())
    return repeated


def _drop(runs: Runs, bad: np.ndarray, reason: str) -> Runs:
    if not bad.any():
        return runs
    rows = runs.lines[bad].tolist()
    shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    return runs.where(~bad).noted(f"dropped {len(rows)}: {reason} (rows {shown})")
