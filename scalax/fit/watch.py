"""`--watch`: fits again whenever a runs table changes. It writes nothing and never gives up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scalax.errors import ScalaxError
from scalax.files import as_path, file_version
from scalax.predict.fit_result import Fit


def watch(path: str | Path, refit: Callable[[], Fit], every: float) -> Iterator[Fit | ScalaxError]:
    """Yields a fit at once and after each change of the table.

    A table that cannot be fitted yet (too few rows, a line half written) yields its error, and is
    tried again at its next change.

    Args:
        path: The table, or the folder of a sweep.
        refit: Reads and fits it.
        every: Seconds between looks.
    """
    file = as_path(path)
    file = file / "runs.csv" if file.is_dir() else file
    seen: tuple[str, int] | None = None
    while True:
        try:
            now = file_version(file)
        except OSError:
            now = ("", 0)
        if now != seen:
            seen = now
            try:
                yield refit()
            except ScalaxError as error:
                yield error
        time.sleep(every)


def line(found: Fit, times: float = 10.0) -> str:
    """How the answer stands, in one line: the split and loss at so many times the largest run.

    Args:
        found: A fit; of a law that splits no budget the line gives the coefficients.
        times: Compute over the largest run fitted.
    """
    stands = f"{found.rows} rows, {found.law}: "
    try:
        at = found.allocate(times * found.ranges["flops"][1])
    except ScalaxError:
        given = (found.coefficients or {}).items()
        return stands + ", ".join(f"{name} {value:.4g}" for name, value in given)
    spans = at.intervals

    def span(name: str, digits: str) -> str:
        ends = spans.get(name)
        return f" ({ends[0]:{digits}} to {ends[1]:{digits}})" if ends else ""

    return (
        f"{stands}at {at.flops:.3g} FLOPs N* {at.params:.3g}"
        f"{span('params', '.3g')}, loss {at.loss:.4g}{span('loss', '.4g')}"
    )
