"""Writes the runs table as CSV: the whole table atomically, or one row at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalax.files import disk_error, on_bucket, write_text
from scalax.runs.schema import column_order


def write_runs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a runs table.

    Args:
        path: The CSV file.
        rows: One mapping per run. The columns are all keys, in order of first occurrence.

    Raises:
        ScalaxError: The file cannot be written; its earlier content is untouched.
    """
    columns = column_order(rows)
    write_text(path, _lines([dict(zip(columns, columns, strict=True)), *rows], columns))


class RunsFile:
    """A runs.csv that grows by one line per run.

    A process that is killed leaves at most a partial last line, which the next `write` replaces.
    A bucket has no append: there each row replaces the whole object.

    Args:
        path: The CSV file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the table; raises the errors of `write_runs`."""
        write_runs(self._path, rows)
        self._columns = column_order(rows)

    def adopt(self) -> bool:
        """Prepares to append to a table that another process wrote.

        Returns:
            Whether there is a table with a complete last line.
        """
        if on_bucket(self._path) or not self._path.is_file():
            return False
        text = self._path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            return False
        self._columns = next(csv.reader(io.StringIO(text)))
        return True

    def append(self, row: Mapping[str, Any]) -> bool:
        """Adds a row at the end of the file.

        Returns:
            Whether the row was added. If not, call `write` with all rows: the table is not there
            yet, the row has a new column, or the file is in a bucket.

        Raises:
            JobError: The disk is full.
            ScalaxError: The file cannot be written.
        """
        if on_bucket(self._path) or not self._columns or not row.keys() <= set(self._columns):
            return False
        try:
            with self._path.open("ab") as stream:
                stream.write(_lines([row], self._columns).encode())
        except OSError as error:
            raise disk_error(error, self._path) from error
        return True


def _lines(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Writes floats in full, so that reading them returns the same bits."""
    return repr(float(value)) if isinstance(value, float) else value
