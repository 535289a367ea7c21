"""`--watch`: fits again whenever a runs table changes, until interrupted. It writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scalax.errors import ScalaxError
from scalax.files import file_version
from scalax.predict.fit_result import Fit
from scalax.runs.read import table_file


def watch(path: str | Path, refit: Callable[[], Fit], every: float) -> Iterator[Fit | ScalaxError]:
    """Yields a fit at once and after each change of the table.

    A table that cannot be fitted yet, such as one with too few rows or an incomplete line, yields
    its error, and is tried again at its next change.

    Args:
        path: The table, or the folder of a sweep.
        refit: Reads and fits the table.
        every: Seconds between checks for a change.
    """
    seen: tuple[str, int] | None = None
    while True:
        try:
            now = file_version(table_file(path))
        except OSError:
            now = ("", 0)
        if now != seen:
            seen = now
            try:
                yield refit()
            except ScalaxError as error:
                yield error
        time.sleep(every)


def summary_line(result: Fit, times: float = 10.0) -> str:
    """Returns one line with N* and the loss beyond the largest run.

    Args:
        result: A fit. For a law that splits no budget the line has the coefficients instead.
        times: Compute to allocate, relative to the largest run fitted.
    """
    start = f"{result.rows} rows, {result.law}: "
    try:
        allocation = result.allocate(times * result.ranges["flops"][1])
    except (ScalaxError, KeyError):
        coefficients = (result.coefficients or {}).items()
        return start + ", ".join(f"{name} {value:.4g}" for name, value in coefficients)

    def interval(name: str, digits: str) -> str:
        ends = allocation.intervals.get(name)
        return f" ({ends[0]:{digits}} to {ends[1]:{digits}})" if ends else ""

    return (
        f"{start}at {allocation.flops:.3g} FLOPs N* {allocation.params:.3g}"
        f"{interval('params', '.3g')}, loss {allocation.loss:.4g}{interval('loss', '.4g')}"
    )
