"""Prepares the rows of a table for a fit: the one way from a table to rows.

Every command and function that fits calls `prepare_runs`, so that all of them use the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalax.runs.clean import best_per_point
from scalax.runs.clean import clean as drop_unusable
from scalax.runs.diagnostics import unit_warnings
from scalax.runs.read import read_runs
from scalax.runs.table import Runs
from scalax.runs.tabular import Table


def prepare_runs(
    table: Table,
    *,
    metric: str = "loss",
    columns: Mapping[str, str] | None = None,
    drop_worst: int = 0,
    clean: bool = False,
    reads: Sequence[str] | None = None,
    every_setting: bool = False,
) -> Runs:
    """Reads, checks and cleans a table, and adds warnings about it to its notes.

    Args:
        table: A path, a data frame, a dict of columns or a `Runs`; see `read_runs`.
        metric: The column to fit.
        columns: Our column names to theirs.
        drop_worst: Number of rows to drop, those with the highest metric.
        clean: Whether to drop near-duplicates, off-centre isoFLOP points and outliers; see
            `scalax.fit.outliers`.
        reads: The columns that the law reads; None where several laws will be tried.
        every_setting: Whether to keep all settings tried at one point. By default only the best
            one is kept.

    Returns:
        The rows to fit, with notes on what was changed and what looks wrong.

    Raises:
        ScalaxError: The table cannot be read, or a column, row or setting is unusable.

    Example:
        >>> table = {"params": [1e6, 1e6], "tokens": [2e7, 2e7], "loss": [4.0, 4.0]}
        >>> runs = prepare_runs(table)
        >>> len(runs), runs.notes[-1]
        (1, 'dropped 1: exact duplicates (rows 2)')
    """
    runs = read_runs(table, columns, metric, reads=reads)
    runs = drop_unusable(runs, metric=metric, drop_worst=drop_worst)
    if not every_setting:
        runs = best_per_point(runs, metric)
    if clean:
        from scalax.fit.outliers import drop_outliers

        runs = drop_outliers(runs, metric)
    return runs.noted(*unit_warnings(runs, metric))
