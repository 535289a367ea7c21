"""What a reader of a fit must be told of its rows, whichever law they were fitted to."""

from __future__ import annotations

import numpy as np

from scalax.laws.base import Law
from scalax.runs.table import Runs


def few_rows(rows: int, free: int, law: Law) -> list[str]:
    """A warning where a law has no fewer free coefficients than there are rows."""
    if rows > free:
        return []
    return [f"{rows} rows are too few to tell the {free} coefficients of {law.name} apart"]


def constant_columns(runs: Runs, law: Law) -> list[str]:
    """A warning for each column of a law that is the same in every row."""
    return [
        f"{name} is the same in every row: nothing can be learned of its effect"
        for name in law.columns
        if np.ptp(runs[name]) == 0
    ]
