"""Files of JSON lines that grow during training and survive a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalax.files import disk_error, on_bucket, to_json, write_text


class LineFile:
    """A file of JSON lines that grows. The first line creates it.

    On a local disk each line is written at once. A bucket cannot append, so `flush` uploads the
    whole file.

    Raises:
        JobError: The disk is full, or the bucket is not accessible.
        ScalaxError: The file is not writable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None
        self._content: str | None = None  # on a bucket: the whole file, once a line was added
        self._flushed = True

    def append(self, values: Mapping[str, Any]) -> None:
        """Writes one line."""
        line = to_json(dict(values)) + "\n"
        if on_bucket(self._path):
            if self._content is None:
                self._content = "".join(to_json(old) + "\n" for old in read_lines(self._path))
            self._content += line
            self._flushed = False
            return
        try:
            if self._stream is None:
                torn = self._path.is_file() and not _ends_with_newline(self._path)
                self._stream = self._path.open("a", encoding="utf-8")
                self._stream.write("\n" if torn else "")
            self._stream.write(line)
            self._stream.flush()
        except OSError as error:
            raise disk_error(error, self._path) from error

    def flush(self) -> None:
        """Makes sure that every line so far survives the end of this process."""
        if self._content is not None and not self._flushed:
            write_text(self._path, self._content)
            self._flushed = True

    def close(self) -> None:
        """Flushes and closes the file."""
        self.flush()
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a file of JSON lines, without a line that a kill cut short."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(text)
        except ValueError:
            continue
        lines += [value] if isinstance(value, dict) else []
    return lines


def truncate_lines(file: Path, step: int) -> None:
    """Drops the lines after a step: training resumes there and writes the same lines again."""
    if not file.is_file():
        return
    lines = [line for line in read_lines(file) if line.get("step", step + 1) <= step]
    text = "".join(to_json(line) + "\n" for line in lines)
    if text != file.read_text(encoding="utf-8"):
        write_text(file, text)


def _ends_with_newline(file: Path) -> bool:
    with file.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            return True
        stream.seek(-1, 2)
        return stream.read(1) == b"\n"
