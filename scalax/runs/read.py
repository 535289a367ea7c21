"""Reads a runs table from a file, a folder, a data frame or a dict, and checks it.

It maps column names, requires usable numbers, and computes the missing one of params, tokens and
flops. Notes record the changes. It drops no rows; `scalax.runs.clean` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.files import as_path, on_bucket, read_bytes
from scalax.laws.base import ComputeRule
from scalax.runs.table import Runs
from scalax.runs.tabular import Table, runs_from_data_frame, runs_from_mapping

SCALE_COLUMNS = ("params", "tokens", "flops")
"""The columns that say how large a run is."""
_READERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
_EXPECTED = "a .csv, .jsonl or .parquet file, or the folder of a sweep"
_LARGEST = 1e100
"""Products of values above it, or below its inverse, overflow or underflow a float."""


def read_runs(
    table: Table,
    columns: Mapping[str, str] | None = None,
    metric: str = "loss",
    *,
    reads: Sequence[str] | None = None,
) -> Runs:
    """Reads and checks a runs table.

    Args:
        table: A CSV, JSONL or Parquet file, a folder that `scalax run` wrote, a data frame of
            pandas, polars or another library that narwhals supports, a dict of columns, or a
            `Runs`.
        columns: Our column names to theirs, such as ``{"params": "Model Size"}``.
        metric: The column that a law will be fitted to.
        reads: The columns of that law, which the table must have; by default at least one of
            params, tokens and flops.

    Returns:
        The table. The metric, params, tokens and flops are float64; if one of the three scales is
        missing, it is computed from the other two. All other columns are unchanged.

    Raises:
        ScalaxError: The file is missing, broken or empty, a column is missing, or a value is not
            a positive number. The message names the row and column.

    Example:
        >>> read_runs({"params": [1e6, 2e6], "tokens": [2e7, 4e7], "loss": [4.0, 3.5]})["flops"]
        array([1.2e+14, 4.8e+14])
    """
    return check(rename(read_table(table), columns or {}), metric, reads)


def read_table(table: Table) -> Runs:
    """Reads any table without checking it; see `read_runs`."""
    if isinstance(table, Runs):
        return table
    if isinstance(table, str | os.PathLike):
        runs = _read_file(table)
    elif isinstance(table, Mapping):
        runs = runs_from_mapping(table)
    else:
        runs = runs_from_data_frame(table)
    if not len(runs):
        raise ScalaxError("the table has no rows", where=runs.source, fix="give at least one run")
    return runs


def table_file(path: str | os.PathLike[str]) -> Path:
    """Returns the file of a runs table: the path itself, or runs.csv in a sweep's folder."""
    file = as_path(os.fspath(path))
    return file / "runs.csv" if file.is_dir() else file


def _read_file(path: str | os.PathLike[str]) -> Runs:
    where = os.fspath(path)
    folder, file = as_path(where), table_file(path)
    if not file.is_file():
        problem = "no runs.csv in this folder" if folder.is_dir() else "no such file"
        raise ScalaxError(problem, where=where, fix=f"give {_EXPECTED}")
    kind = _READERS.get(file.suffix.lower())
    if kind is None:
        raise ScalaxError(
            f"unknown kind of file {file.suffix!r}", where=where, fix=f"give {_EXPECTED}"
        )
    table = _parse(file, kind, where)
    arrays = {str(name): table.column(name).to_numpy() for name in table.column_names}
    return Runs.from_columns(arrays, source=where)


def _parse(file: Path, kind: str, where: str) -> Any:
    import pyarrow as pa

    try:
        opened = pa.BufferReader(read_bytes(file)) if on_bucket(file) else file
        if kind == "csv":
            from pyarrow import csv

            options = csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
            table = csv.read_csv(opened, parse_options=options)
        elif kind == "json":
            from pyarrow import json

            table = json.read_json(opened)
        else:
            from pyarrow import parquet

            table = parquet.read_table(opened)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if kind == "csv" and "Expected 1 columns" in text and ";" in text:
            raise _semicolons(where) from None
        raise ScalaxError(
            f"cannot be read as {kind}: {text}",
            where=where,
            fix=f"correct the file, or give {_EXPECTED}",
        ) from None
    if kind == "csv" and table.num_columns == 1 and ";" in table.column_names[0]:
        raise _semicolons(where)
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise ScalaxError(
            f"column {min(repeated)!r} occurs twice",
            where=where,
            fix="rename or remove one of them",
        )
    return table


def _semicolons(where: str) -> ScalaxError:
    return ScalaxError(
        "expected columns separated by commas, got semicolons",
        where=where,
        fix="save it with commas between columns and points in numbers",
    )


def rename(runs: Runs, columns: Mapping[str, str]) -> Runs:
    """Renames columns to ours.

    Args:
        runs: A table.
        columns: Our names to theirs.

    Raises:
        ScalaxError: The table lacks one of their columns.
    """
    if not columns:
        return runs
    renamed = {ours: runs[theirs] for ours, theirs in columns.items()}
    others = {
        name: values
        for name, values in runs.columns.items()
        if name not in columns.values() and name not in renamed
    }
    return Runs({**renamed, **others}, runs.source, runs.notes, runs.lines)


def check(runs: Runs, metric: str = "loss", reads: Sequence[str] | None = None) -> Runs:
    """Requires usable numbers, and computes the third of params, tokens and flops by 6ND.

    Rows whose ``status`` is ``diverged`` may lack a metric.

    Args:
        runs: A table with our column names.
        metric: The column to fit.
        reads: The columns of the law; None where the law is not known yet.

    Raises:
        ScalaxError: A column is missing or a value is not a positive finite number.
    """
    diverged = np.zeros(len(runs), bool)
    if "status" in runs:
        diverged = np.asarray([str(s) == "diverged" for s in runs["status"]], bool)
    runs = runs.with_column(metric, positive_column(runs, metric, but_not=diverged))
    required = [name for name in SCALE_COLUMNS if reads is None or name in reads]
    for name in SCALE_COLUMNS:
        if name not in runs:
            continue
        try:
            runs = runs.with_column(name, positive_column(runs, name))
        except ScalaxError as error:
            if name in required or len(required) > 1:
                raise
            runs = runs.without_column(name).noted(f"{name} is not used: {error}")
    given = [name for name in SCALE_COLUMNS if name in runs]
    enough = bool(given) if reads is None else set(required) <= set(given)
    if len(given) < 2 and not enough:
        raise _lacks_columns(runs, given, required)
    if len(given) == 2:
        runs = _fill(runs, given)
    for name in reads or ():
        if name not in (metric, *SCALE_COLUMNS):
            runs = runs.with_column(name, _finite_column(runs, name))
    return runs


def _lacks_columns(runs: Runs, given: list[str], required: list[str]) -> ScalaxError:
    lacking = [name for name in required if name not in given]
    return ScalaxError(
        "expected two of params, tokens and flops, or the column that the law reads; got "
        f"{', '.join(given) or 'none'} of them among the columns {', '.join(runs.columns)}",
        where=runs.source,
        fix=f"map one: --columns {lacking[0]}=THEIR_NAME",
    )


def _fill(runs: Runs, given: list[str]) -> Runs:
    rule = ComputeRule()
    if "flops" not in given:
        filled, name = rule.flops(runs["params"], runs["tokens"]), "flops"
    elif "tokens" not in given:
        filled, name = rule.tokens(runs["params"], runs["flops"]), "tokens"
    else:  # 6ND is symmetric in params and tokens
        filled, name = rule.tokens(runs["tokens"], runs["flops"]), "params"
    return runs.with_column(name, np.asarray(filled)).noted(
        f"{name} filled in by flops = 6 x params x tokens"
    )


def positive_column(runs: Runs, name: str, but_not: np.ndarray | None = None) -> np.ndarray:
    """Returns a column as positive floats whose products stay finite.

    Args:
        runs: A table.
        name: The column.
        but_not: Rows that may have any value, [rows]; unusable ones become NaN.

    Raises:
        ScalaxError: The column is missing, or a value is not a positive finite number.
    """
    numbers = _numbers(runs[name])
    bad = ~((numbers >= 1 / _LARGEST) & (numbers <= _LARGEST))
    if but_not is not None:
        numbers = np.where(bad & but_not, np.nan, numbers)
        bad &= ~but_not
    if bad.any():
        row = int(np.argmax(bad))
        limits = f" of {1 / _LARGEST:g} to {_LARGEST:g}" if 0 < numbers[row] < np.inf else ""
        raise _bad_value(runs, name, bad, f"a positive number{limits}")
    return numbers


def _finite_column(runs: Runs, name: str) -> np.ndarray:
    numbers = _numbers(runs[name])
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise _bad_value(runs, name, bad, "a number")
    return numbers


def _bad_value(runs: Runs, name: str, bad: np.ndarray, expected: str) -> ScalaxError:
    row = int(np.argmax(bad))
    more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
    value = runs[name][row]
    shown = "nothing" if value is None or value != value else repr(value)
    return ScalaxError(
        f"expected {expected}, got {shown}{more}",
        where=f"{runs.source}: row {int(runs.lines[row])}, {name}",
        fix="correct or remove the row, or set its status to diverged",
    )


def _numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.asarray([_number(v) for v in values], float)
    return values.astype(float)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
