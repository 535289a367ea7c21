"""Writes a runs table as CSV, whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalax.files import write_text


def write_runs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a runs table.

    Args:
        path: The CSV file.
        rows: One mapping a run; columns are all keys, in the order first met.

    Raises:
        ScalaxError: It cannot be written; what stood there is untouched.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    """Floats in full, so that reading gives them back to the bit."""
    return repr(value) if isinstance(value, float) else value
