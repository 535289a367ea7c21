"""Which rows share a budget: the steps by which a rollout hides the largest ones.

It looks at flops alone, never at a loss.
"""

from __future__ import annotations

import itertools

import numpy as np

_NEAR = 0.1
_WIDE = 0.5
_FEWEST = 3
_MOST = 14


def budget_of(flops: np.ndarray) -> np.ndarray:
    """The budget of each row, numbered from 0 by rising compute.

    Budgets that differ by less than a tenth are one, and none spans more than half an e-fold: a
    wider one, as scattered readings off a figure chain them, is cut at its widest gap. Where runs
    do not share budgets (a grid of sizes and token counts), neighbours in compute are gathered,
    from the largest down, until each group holds at least three rows and an eighth of the table.

    Args:
        flops: [rows].

    Returns:
        Numbers [rows], each from 0 to the count of budgets less 1 present.

    Example:
        >>> budget_of(np.array([1e19, 1e18, 1.01e18, 9.9e18, 1e19, 1e18])).tolist()
        [1, 0, 0, 1, 1, 0]
    """
    order = np.argsort(flops, kind="stable")
    label = np.concatenate([[0], np.cumsum(_cuts(np.log(flops[order])))])
    sizes = np.bincount(label)
    if len(sizes) > _MOST or np.median(sizes) < _FEWEST:
        label = _gathered(sizes)[label]
    found = np.empty(len(flops), int)
    found[order] = label
    return found


def _cuts(log_flops: np.ndarray) -> np.ndarray:
    """Whether a budget ends after each row but the last, of rows in rising order."""
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


def _gathered(sizes: np.ndarray) -> np.ndarray:
    """The group of each cluster: from the largest down, each filled before the next begins."""
    least = max(_FEWEST, int(sizes.sum()) // 8)
    group, held, groups = 0, 0, []
    for size in sizes[::-1]:
        if held >= least:
            group, held = group + 1, 0
        groups.append(group)
        held += int(size)
    if group and held < least:  # what is left over joins its neighbour
        groups = [min(g, group - 1) for g in groups]
    numbers = np.asarray(groups[::-1])
    return np.asarray(numbers.max() - numbers)
