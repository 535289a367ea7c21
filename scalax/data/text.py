"""A dataset from a user's text files: .txt, .jsonl and .parquet."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from scalax.data.base import Dataset
from scalax.data.tokens import TokenDataset, pack
from scalax.errors import ScalaxError
from scalax.schema import Settings, parse

_SUFFIXES = (".txt", ".jsonl", ".parquet")


class _Options(Settings):
    seq_len: int = Field(ge=1)
    files: list[str] = Field(min_length=1)
    column: str = "text"


class Text(Dataset):
    """A user's text files as bytes.

    A document is a .txt file, a line of a .jsonl file or a row of a .parquet file. Options:
    ``files`` (paths or globs), ``column`` (key or column of the text in .jsonl and .parquet files,
    ``text`` by default) and ``seq_len``.
    """

    name: ClassVar[str] = "text"
    title: ClassVar[str] = "your own .txt, .jsonl or .parquet files, as bytes"

    def open(self, name: str, options: Mapping[str, Any]) -> TokenDataset:
        """Packs the files on first use; see `Dataset.open`."""
        parsed = parse(_Options, options, where="data")
        files = [file for pattern in parsed.files for file in _matched(pattern)]
        key: dict[str, object] = {
            "dataset": name,
            "column": parsed.column,
            "files": [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files],
        }

        def documents() -> Iterator[bytes]:
            return (d.encode("utf-8") for file in files for d in _read(file, parsed.column))

        return pack(name, parsed.seq_len, key, documents)


def _matched(pattern: str) -> list[Path]:
    # Path.glob does not accept an absolute pattern.
    names = glob.glob(str(Path(pattern).expanduser()), recursive=True)  # noqa: PTH207
    files = [path for path in map(Path, sorted(names)) if path.is_file()]
    if not files:
        raise ScalaxError("no file matches", where=f"data.files {pattern!r}", fix="check the path")
    for path in files:
        if path.suffix not in _SUFFIXES:
            raise ScalaxError(
                f"unknown kind of file {path.suffix!r}",
                where=f"data.files: {path}",
                fix=f"use one of {', '.join(_SUFFIXES)}",
            )
    return files


def _read(file: Path, column: str) -> Iterator[str]:
    if file.suffix == ".txt":
        try:
            yield file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ScalaxError(f"not UTF-8: {error}", where=str(file)) from None
    elif file.suffix == ".jsonl":
        yield from _read_jsonl(file, column)
    else:
        yield from _read_parquet(file, column)


def _read_jsonl(file: Path, column: str) -> Iterator[str]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)[column]
            except (ValueError, KeyError, TypeError) as error:
                raise ScalaxError(
                    f"expected an object with {column!r} ({type(error).__name__}: {error})",
                    where=f"{file}: line {number}",
                    fix='name the key: column = "..." in [data]',
                ) from None
            yield _text(value, f"{file}: line {number}, {column}")


def _read_parquet(file: Path, column: str) -> Iterator[str]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.ParquetFile(file)
    except (ArrowException, OSError) as error:
        raise ScalaxError(f"cannot be read as parquet: {error}", where=str(file)) from None
    if column not in table.schema_arrow.names:
        raise ScalaxError(
            f"no column {column!r} among {', '.join(table.schema_arrow.names)}",
            where=str(file),
            fix='name it: column = "..." in [data]',
        )
    row = 0
    for batch in table.iter_batches(batch_size=1024, columns=[column]):
        for value in batch.column(0).to_pylist():
            row += 1
            yield _text(value, f"{file}: row {row}, {column}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ScalaxError(f"expected text, got {value!r}", where=where)
    return value
