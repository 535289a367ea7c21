"""Turns the tables that Python users have into `Runs`: data frames and mappings of columns.

It reads no files; see `scalax.runs.read`.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from scalax.errors import ScalaxError
from scalax.runs.table import Runs


@runtime_checkable
class DataFrameLike(Protocol):
    """A data frame of pandas, polars, pyarrow or another library that narwhals supports."""

    @property
    def columns(self) -> Any:
        """The columns."""


Table: TypeAlias = Runs | str | PathLike[str] | Mapping[str, Any] | DataFrameLike
"""A runs table, the path of one, a mapping of column names to values, or a data frame."""


def runs_from_mapping(columns: Mapping[str, Any], source: str = "table") -> Runs:
    """Returns the table of a mapping of column names to sequences of values.

    Raises:
        ScalaxError: A value is not one-dimensional, or lengths differ.
    """
    for name, values in columns.items():
        if np.ndim(values) != 1:
            raise ScalaxError(
                f"expected a sequence of one value per run, got {values!r:.60}",
                where=f"{source}: {name}",
            )
    return Runs.from_columns({str(name): values for name, values in columns.items()}, source)


def runs_from_data_frame(frame: Any) -> Runs:
    """Returns the table of a data frame, read through narwhals; missing values become NaN or None.

    Raises:
        ScalaxError: It is not a table that narwhals supports.
    """
    try:
        import narwhals.stable.v1 as nw
    except ImportError:
        raise ScalaxError(
            f"reading a {type(frame).__name__} requires narwhals",
            where="runs",
            fix="pip install narwhals, or give a path or a dict of columns",
        ) from None
    try:
        native = nw.from_native(frame)
    except (TypeError, ValueError) as error:
        raise ScalaxError(
            f"expected a path, a Runs, a dict of columns or a data frame, got {type(frame)} "
            f"({str(error).splitlines()[0]})",
            where="runs",
        ) from None
    table = native.collect() if isinstance(native, nw.LazyFrame) else native
    return runs_from_mapping(
        {name: _values(table[name]) for name in table.columns}, type(frame).__name__
    )


def _values(series: Any) -> np.ndarray:
    """Returns a narwhals series as floats where it is numeric, else as objects."""
    values, missing = series.to_list(), series.is_null().to_list()
    numeric = series.dtype.is_numeric()
    blank = float("nan") if numeric else None
    plain = [blank if absent else v for v, absent in zip(values, missing, strict=True)]
    return np.asarray(plain, float if numeric else object)
