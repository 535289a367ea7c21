"""Storage of a lease: numbered files in a local folder, on NFS or in a bucket.

Both stores create a file atomically, so that only one of several callers succeeds, and report times
by the clock of the file system. The lease protocol is in `scalax.distributed.lease`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from scalax.files import bucket_files, on_bucket


class LeaseFile(NamedTuple):
    """One file of a lease.

    Attributes:
        content: Bytes of the file.
        modified: Time of its last modification, seconds by the file system's clock.
        now: Time of this reading, seconds by the same clock.
    """

    content: bytes
    modified: float
    now: float


class LeaseStore(Protocol):
    """The numbered files of one lease.

    Attributes:
        path: Path of the files without their number.
    """

    path: str

    def numbers(self) -> list[int]:
        """Returns the numbers of the files that exist now."""

    def create(self, number: int, content: bytes) -> bool:
        """Creates a file; returns False if it exists. Of concurrent callers one succeeds."""

    def read(self, number: int) -> LeaseFile:
        """Reads a file, its modification time and the current time.

        Raises:
            FileNotFoundError: The file does not exist.
        """

    def touch(self, number: int) -> None:
        """Sets the modification time of a file to now."""

    def write(self, number: int, content: bytes) -> None:
        """Replaces the content of a file."""

    def delete(self, number: int) -> None:
        """Deletes a file if it exists."""


def open_store(path: str | os.PathLike[str]) -> LeaseStore:
    """Returns the store for a path on a local disk or in a bucket."""
    return _BucketStore(path) if on_bucket(path) else _LocalStore(Path(path))


class _LocalStore:
    """Files on a local disk or NFS. Opening with O_EXCL is atomic on both."""

    def __init__(self, path: Path) -> None:
        self._path, self.path = path, str(path)

    def numbers(self) -> list[int]:
        try:
            names = [file.name for file in self._path.parent.iterdir()]
        except FileNotFoundError:
            return []
        return _parse_numbers(self._path.name, names)

    def create(self, number: int, content: bytes) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._file(number).open("xb") as stream:
                stream.write(content)
        except FileExistsError:
            return False
        return True

    def read(self, number: int) -> LeaseFile:
        with self._file(number).open("rb") as stream:  # opening makes NFS ask its server again
            content, modified = stream.read(), os.fstat(stream.fileno()).st_mtime
        with tempfile.TemporaryFile(dir=self._path.parent) as clock:
            clock.write(b".")
            clock.flush()
            return LeaseFile(content, modified, os.fstat(clock.fileno()).st_mtime)

    def touch(self, number: int) -> None:
        os.utime(self._file(number))

    def write(self, number: int, content: bytes) -> None:
        self._file(number).write_bytes(content)

    def delete(self, number: int) -> None:
        self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class _BucketStore:
    """Objects of a gs:// bucket, created on the condition that their generation is 0."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._files: Any = bucket_files(path)
        self.path = os.fspath(path)
        self._folder, _, self._name = self.path.rpartition("/")

    def numbers(self) -> list[int]:
        try:
            names = self._files.ls(self._folder, detail=False)
        except FileNotFoundError:
            return []
        return _parse_numbers(self._name, [name.rpartition("/")[2] for name in names])

    def create(self, number: int, content: bytes) -> bool:
        try:
            self._files.pipe_file(self._file(number), content, mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, number: int) -> LeaseFile:
        file, clock = self._file(number), f"{self.path}-now-{uuid.uuid4().hex}"
        content, modified = self._files.cat_file(file), self._files.modified(file).timestamp()
        self._files.pipe_file(clock, b".")
        try:
            return LeaseFile(content, modified, self._files.modified(clock).timestamp())
        finally:
            self._files.rm_file(clock)

    def touch(self, number: int) -> None:
        self.write(number, self._files.cat_file(self._file(number)))

    def write(self, number: int, content: bytes) -> None:
        self._files.pipe_file(self._file(number), content)

    def delete(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._file(number))

    def _file(self, number: int) -> str:
        return f"{self.path}.{number}"


def _parse_numbers(name: str, files: list[str]) -> list[int]:
    matches = (re.fullmatch(rf"{re.escape(name)}\.(\d+)", file) for file in files)
    return [int(match[1]) for match in matches if match]
