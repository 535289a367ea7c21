"""The runs table in memory: named columns of equal length, their source and notes."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scalax.errors import ScalaxError, suggest
from scalax.runs.schema import NUMERIC


@dataclass(frozen=True)
class Runs:
    """A runs table.

    Attributes:
        columns: Arrays of one length by column name; numbers are float64, the rest objects.
        source: The file or object that it was read from, for errors and reports.
        notes: Sentences on what reading and cleaning changed.
        lines: Row numbers in the source, [rows]; the first row after a header is 1.

    Example:
        >>> runs = Runs.from_columns({"params": [1e6, 2e6], "tokens": [2e7, 4e7], "loss": [4, 3.5]})
        >>> len(runs), runs["params"].tolist()
        (2, [1000000.0, 2000000.0])
    """

    columns: dict[str, np.ndarray] = field(repr=False)
    source: str = "runs"
    notes: tuple[str, ...] = ()
    lines: np.ndarray = field(default_factory=lambda: np.zeros(0, int), repr=False)

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Sequence[Any] | np.ndarray], source: str = "runs"
    ) -> Runs:
        """Returns a table of sequences; numeric ones become float64.

        Raises:
            ScalaxError: The lengths differ.
        """
        arrays = {name: _array(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ScalaxError(f"columns of different lengths: {lengths}", where=source)
        count = next(iter(lengths.values()), 0)
        return cls(arrays, source, (), np.arange(1, count + 1))

    def __len__(self) -> int:
        return len(self.lines)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise ScalaxError(
                f"no column {name!r}",
                where=self.source,
                fix=suggest(
                    name, self.columns, otherwise=f"map a column with --columns {name}=THEIR_NAME"
                ),
            )
        return self.columns[name]

    def where(self, keep: np.ndarray) -> Runs:
        """Returns the rows selected by a mask or by indices."""
        return replace(
            self,
            columns={name: values[keep] for name, values in self.columns.items()},
            lines=self.lines[keep],
        )

    def with_column(self, name: str, values: np.ndarray) -> Runs:
        """Returns the table with a column added or replaced."""
        return replace(self, columns={**self.columns, name: values})

    def without_column(self, name: str) -> Runs:
        """Returns the table without a column."""
        return replace(self, columns={k: v for k, v in self.columns.items() if k != name})

    def noted(self, *notes: str) -> Runs:
        """Returns the table with notes added."""
        return replace(self, notes=self.notes + notes)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the rows as dictionaries of plain Python values."""
        lists = {name: values.tolist() for name, values in self.columns.items()}
        for index in range(len(self)):
            yield {name: values[index] for name, values in lists.items()}

    def _repr_html_(self) -> str:
        shown = [name for name in NUMERIC if name in self.columns]
        shown += [name for name in self.columns if name not in shown]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in shown)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(_show(row[name]))}</td>" for name in shown)
            + "</tr>"
            for row, _ in zip(self.rows(), range(20), strict=False)
        )
        more = f"{len(self)} runs from {html.escape(self.source)}"
        return f"<table><caption>{more}</caption><tr>{head}</tr>{body}</table>"


def _array(values: Sequence[Any] | np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind in "iuf":
        return array.astype(float)
    return array.astype(object)


def _show(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
