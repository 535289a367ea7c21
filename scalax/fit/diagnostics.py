"""Warnings about rows that cannot determine the coefficients of a law."""

from __future__ import annotations

import numpy as np

from scalax.laws.base import Law
from scalax.runs.table import Runs


def few_rows(rows: int, free: int, law: Law) -> list[str]:
    """Returns a warning if there are no more rows than free coefficients."""
    if rows > free:
        return []
    return [f"{rows} rows are too few to determine the {free} coefficients of {law.name}"]


def constant_columns(runs: Runs, law: Law) -> list[str]:
    """Returns a warning for each column that the law reads and that is the same in every row."""
    return [
        f"{name} is the same in every row: its effect cannot be learned"
        for name in law.columns
        if np.ptp(np.asarray(runs[name], float)) == 0
    ]
