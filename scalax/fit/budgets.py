"""Groups rows by compute budget; a backtest hides the largest budgets.

The groups depend on compute only, never on the loss.
"""

from __future__ import annotations

import itertools

import numpy as np

from scalax.array_types import Bool, Float, Int

_NEAR = 0.1
"""Gap in log compute up to which neighbouring rows have one budget."""
_WIDE = 0.5
"""Span in log compute above which a budget is split."""
_FEWEST = 3
"""Least number of rows in a group, and in the median budget if budgets are not grouped."""
_MOST = 14
"""Greatest number of budgets that are not grouped."""


def budget_of(flops: Float[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Returns the budget of each row, numbered from 0 by rising compute.

    Neighbouring rows have one budget if their compute differs by less than a tenth. A budget that
    spans more than half an e-fold, such as a chain of readings from a figure, is split at its
    widest gap. Where runs do not share budgets, as in a grid of sizes and token counts, neighbours
    are grouped from the largest down, so that each group has at least three rows and an eighth of
    the table.

    Args:
        flops: Compute of the rows, [rows].

    Returns:
        Numbers from 0 to the number of budgets minus 1, [rows].

    Example:
        >>> budget_of(np.array([1e19, 1e18, 1.01e18, 9.9e18, 1e19, 1e18])).tolist()
        [1, 0, 0, 1, 1, 0]
    """
    order = np.argsort(flops, kind="stable")
    label = np.concatenate([[0], np.cumsum(_cuts(np.log(flops[order])))])
    sizes = np.bincount(label)
    if len(sizes) > _MOST or np.median(sizes) < _FEWEST:
        label = _grouped(sizes)[label]
    budget = np.empty(len(flops), int)
    budget[order] = label
    return budget


def _cuts(log_flops: Float[np.ndarray, " rows"]) -> Bool[np.ndarray, " gaps"]:
    """Returns whether a budget ends before each row but the first, for rows in rising order."""
    gaps = np.diff(log_flops)
    cuts = gaps > _NEAR
    ends = [0, *(np.flatnonzero(cuts) + 1).tolist(), len(log_flops)]
    spans = list(itertools.pairwise(ends))
    while spans:
        start, end = spans.pop()
        if log_flops[end - 1] - log_flops[start] > _WIDE:
            middle = start + int(np.argmax(gaps[start : end - 1])) + 1
            cuts[middle - 1] = True
            spans += [(start, middle), (middle, end)]
    return cuts


def _grouped(sizes: Int[np.ndarray, " budgets"]) -> Int[np.ndarray, " budgets"]:
    """Returns the group of each budget, filling groups from the largest budget down.

    Args:
        sizes: Number of rows in each budget, [budgets].
    """
    least = max(_FEWEST, int(sizes.sum()) // 8)
    group, rows, groups = 0, 0, []
    for size in sizes[::-1]:
        if rows >= least:
            group, rows = group + 1, 0
        groups.append(group)
        rows += int(size)
    if group and rows < least:  # the remaining rows join their neighbours
        groups = [min(g, group - 1) for g in groups]
    numbers = np.asarray(groups[::-1])
    return np.asarray(numbers.max() - numbers)
