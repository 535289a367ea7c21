"""Writes a runs table as CSV, atomically."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalax.files import write_text


def write_runs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a runs table; an existing file is replaced only once the new one is complete.

    Args:
        path: The CSV file.
        rows: One mapping per run. Columns are all keys, in order of first appearance.

    Raises:
        ScalaxError: The file cannot be written; an existing one is unchanged.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    """Writes floats in full precision, so that reading restores every bit."""
    return repr(value) if isinstance(value, float) else value
