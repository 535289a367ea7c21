"""Reads a runs table from CSV, JSONL, Parquet, or the folder of a sweep, and checks it.

Parsing is Arrow's. This file maps names, demands that the numbers be usable, fills in the third
of params, tokens and flops, and says in notes what it did. It drops nothing; see `clean`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.files import as_path, on_bucket, read_bytes
from scalax.laws.base import ComputeRule
from scalax.runs.table import Runs

_READERS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
_EXPECTED = "a .csv, .jsonl or .parquet file, or the folder of a sweep"
_MOST = 1e100
"""Beyond it, and below its inverse, products of columns leave the range of a float."""


def read_runs(
    path: str | Path, columns: Mapping[str, str] | None = None, metric: str = "loss"
) -> Runs:
    """Reads and checks a runs table.

    Args:
        path: A CSV, JSONL or Parquet file, or a folder that `scalax run` wrote.
        columns: Our column names to theirs, such as ``{"params": "Model Size"}``.
        metric: The column that a law will be fitted to.

    Returns:
        The table with columns params, tokens, flops and the metric as float64, beside all others.

    Raises:
        ScalaxError: The file is missing, broken or empty, a column is missing, or a value is not
            a positive number; names the row and column.
    """
    return check(rename(read_table(path), columns or {}), metric)


def read_table(path: str | Path) -> Runs:
    """Reads any table as it stands, unchecked; errors as `read_runs`."""
    file = as_path(path)
    if file.is_dir():
        file = file / "runs.csv"
        if not file.is_file():
            raise ScalaxError(
                "no runs.csv in this folder", where=str(path), fix=f"give {_EXPECTED}"
            )
    if not file.is_file():
        raise ScalaxError("no such file", where=str(path), fix=f"give {_EXPECTED}")
    kind = _READERS.get(file.suffix.lower())
    if kind is None:
        raise ScalaxError(f"unknown kind of file {file.suffix!r}", where=str(path), fix=_EXPECTED)
    table = _parse(file, kind, str(path))
    arrays = {str(name): table.column(name).to_numpy() for name in table.column_names}
    found = Runs.from_columns(arrays, source=str(path))
    if not len(found):
        raise ScalaxError("the table has no rows", where=str(path), fix="give at least one run")
    return found


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
        raise ScalaxError(f"cannot be read as {kind}: {text}", where=where) from None
    if kind == "csv" and table.num_columns == 1 and ";" in table.column_names[0]:
        raise _semicolons(where)
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise ScalaxError(f"column {min(repeated)!r} stands twice", where=where)
    return table


def _semicolons(where: str) -> ScalaxError:
    return ScalaxError(
        "expected columns separated by commas, got semicolons",
        where=where,
        fix="save it with commas between columns and points in numbers",
    )


def rename(runs: Runs, columns: Mapping[str, str]) -> Runs:
    """Gives columns our names.

    Args:
        runs: A table.
        columns: Our names to theirs.

    Raises:
        ScalaxError: One of theirs is not in the table.
    """
    renamed = {ours: runs[theirs] for ours, theirs in columns.items()}
    kept = {n: v for n, v in runs.columns.items() if n not in columns.values() and n not in renamed}
    return Runs({**renamed, **kept}, runs.source, runs.notes, runs.lines)


def check(runs: Runs, metric: str = "loss") -> Runs:
    """Demands usable numbers, and fills the third of params, tokens and flops by 6ND.

    Rows whose ``status`` is ``diverged`` may lack a loss.

    Raises:
        ScalaxError: A column is missing or a value is not a positive finite number.
    """
    diverged = np.zeros(len(runs), bool)
    if "status" in runs:
        diverged = np.asarray([str(s) == "diverged" for s in runs["status"]], bool)
    runs = runs.with_column(metric, positive_column(runs, metric, but_not=diverged))
    given = [name for name in ("params", "tokens", "flops") if name in runs]
    if len(given) < 2:
        lacking = [name for name in ("params", "tokens", "flops") if name not in runs]
        raise ScalaxError(
            f"needs two of params, tokens and flops; has {', '.join(given) or 'none'} "
            f"among its columns {', '.join(runs.columns)}",
            where=runs.source,
            fix=f"map one: --columns {lacking[0]}=THEIR_NAME",
        )
    for name in given:
        runs = runs.with_column(name, positive_column(runs, name))
    return _fill(runs, given)


def _fill(runs: Runs, given: list[str]) -> Runs:
    if len(given) == 3:
        return runs
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
    """A column as positive floats whose products stay finite.

    Args:
        runs: A table.
        name: The column.
        but_not: Rows [rows] that may hold anything; what is unusable there becomes NaN.

    Raises:
        ScalaxError: The column is missing, or a value is not a positive finite number.
    """
    values = runs[name]
    if values.dtype == object:
        numbers = np.asarray([_number(v) for v in values], float)
    else:
        numbers = values.astype(float)
    bad = ~((numbers >= 1 / _MOST) & (numbers <= _MOST))
    if but_not is not None:
        numbers = np.where(bad & but_not, np.nan, numbers)
        bad &= ~but_not
    if bad.any():
        row = int(np.argmax(bad))
        more = f" (and {int(bad.sum()) - 1} more rows)" if bad.sum() > 1 else ""
        found = values[row]
        near = f" of {1 / _MOST:g} to {_MOST:g}" if 0 < numbers[row] < np.inf else ""
        shown = "nothing" if found is None or found != found else repr(found)
        raise ScalaxError(
            f"expected a positive number{near}, got {shown}{more}",
            where=f"{runs.source}: row {int(runs.lines[row])}, {name}",
            fix="mend or remove the row, or set its status to diverged",
        )
    return numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
