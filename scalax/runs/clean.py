"""Takes out of a runs table what no fit should see, and lists each row taken with its reason.

Unasked, only diverged runs, check runs and exact duplicates go. It never changes a number.
"""

from __future__ import annotations

import numpy as np

from scalax.errors import ScalaxError
from scalax.runs.table import Runs


def clean(runs: Runs, *, metric: str = "loss", drop_worst: int = 0) -> Runs:
    """The rows to fit.

    Args:
        runs: A checked table.
        metric: The column to be fitted.
        drop_worst: How many rows of the highest metric to drop as well.

    Returns:
        The rows kept, with a note for each reason that rows were dropped.

    Raises:
        ScalaxError: ``drop_worst`` is negative, or nothing is left.
    """
    if drop_worst < 0:
        raise ScalaxError(f"expected 0 or more, got {drop_worst}", where="--drop-worst")
    if "role" in runs:  # check runs test a fit and are never part of one
        runs = runs.where(np.asarray([str(v) != "check" for v in runs["role"]], bool))
    if "status" in runs:
        diverged = np.asarray([str(v) == "diverged" for v in runs["status"]], bool)
        runs = _without(runs, diverged, "diverged runs")
    runs = _without(runs, _repeated(runs), "exact duplicates")
    if drop_worst:
        worst = np.zeros(len(runs), bool)
        worst[np.argsort(runs[metric], kind="stable")[::-1][:drop_worst]] = True
        runs = _without(runs, worst, f"the {drop_worst} of the highest {metric}")
    if not len(runs):
        raise ScalaxError("no row is left to fit", where=runs.source, fix="; ".join(runs.notes))
    return runs


def best_per_point(runs: Runs, axes: list[str], metric: str = "loss") -> Runs:
    """Of runs that differ only in tuned settings, the best at each params and tokens.

    Args:
        runs: A cleaned table.
        axes: Columns that were varied, such as ``learning_rate``.
        metric: The column to be least.

    Returns:
        One row a point, with a warning for each point whose best lies on the edge of an axis
        of numbers: the optimum may lie beyond it.
    """
    points: dict[tuple[float, float], list[int]] = {}
    # Sizes and token counts are compared as planned: a batch that differs rounds tokens otherwise.
    size = runs["target_params"] if "target_params" in runs else runs["params"]
    count = runs["target_tokens"] if "target_tokens" in runs else runs["tokens"]
    for index, key in enumerate(zip(size.tolist(), count.tolist(), strict=True)):
        points.setdefault(key, []).append(index)
    best = {key: min(rows, key=lambda i: float(runs[metric][i])) for key, rows in points.items()}
    notes = []
    for axis in axes:
        if axis == "seed" or axis not in runs or runs[axis].dtype != float:
            continue
        for (params, tokens), row in best.items():
            tried = runs[axis][points[params, tokens]]
            at = runs[axis][row]
            if len(set(tried.tolist())) > 1 and at in (tried.min(), tried.max()):
                notes.append(
                    f"the best {axis} for params {params:g}, tokens {tokens:g} is {at:g}, "
                    "on the edge of those tried"
                )
    dropped = len(runs) - len(best)
    if dropped:
        notes.append(f"{dropped} runs set aside: a better setting stands at the same point")
    return runs.where(np.asarray(sorted(best.values()))).noted(*notes)


def _repeated(runs: Runs) -> np.ndarray:
    """Marks each row that says, in every column, what an earlier one says."""
    key = np.zeros(len(runs), np.uint64)
    for values in runs.columns.values():
        if values.dtype == object:
            hashes = np.asarray([hash(str(v)) & 0xFFFFFFFFFFFFFFFF for v in values], np.uint64)
        else:
            hashes = values.view(np.uint64)
        key = (key ^ hashes) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    likely = np.flatnonzero(first[group] != np.arange(len(runs)))
    repeated = np.zeros(len(runs), bool)
    for row in likely:  # equal keys are all but certain to be equal rows; make sure
        other = first[group[row]]
        repeated[row] = all(repr(v[row]) == repr(v[other]) for v in runs.columns.values())
    return repeated


def _without(runs: Runs, bad: np.ndarray, reason: str) -> Runs:
    if not bad.any():
        return runs
    rows = runs.lines[bad].tolist()
    shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
    return runs.where(~bad).noted(f"dropped {len(rows)}: {reason} (rows {shown})")
