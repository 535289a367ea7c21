"""A lease: what one process at a time holds, among all that see a folder, on any machines.

A holder renews it; one that died does not, and after a stated time another may take it over. The
folder may be local, on NFS or gs://. Nothing here knows what the lease is for.

Each holder creates a file of its own, ``NAME.1``, then ``NAME.2`` and so on, which the file system
lets only one process do; the highest number holds. Ages are by the file system's clock alone, so
that hosts whose clocks differ agree.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from scalax.errors import JobError
from scalax.files import bucket_errors, bucket_files, disk_error, on_bucket

SECONDS = 60.0
"""Without renewal, after which a lease is free; it is renewed four times as often."""

_RELEASED = b"released"


class Lease:
    """A lease that this process took; see `take`. Leaving it as a context releases it."""

    def __init__(self, store: _Store, number: int, seconds: float, began: float) -> None:
        self._store, self._number, self._seconds = store, number, seconds
        self._renewed = began  # by this host's monotonic clock, from before the file was written
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else holds it now."""
        return not self._lost and time.monotonic() - self._renewed < self._seconds

    def check(self) -> None:
        """Demands that it still be held: call it before what two holders must not both do.

        Raises:
            JobError: It could not be renewed in time, or another process took it over.
        """
        if self.held:
            return
        if self._lost:
            why = f"{holder(self._store.place) or 'another process'} took it over"
        else:
            why = f"it could not be renewed for {self._seconds:g} s"
        raise JobError(
            f"lost the lease: {why}",
            where=self._store.place,
            fix="see whether another job works there; the same command goes on",
        )

    def release(self) -> None:
        """Gives it up, for another to take at once; one that was lost stays the other's."""
        self._over.set()
        self._thread.join()
        if self.held:
            with contextlib.suppress(Exception):  # whatever it is: the lease then runs out
                self._store.write(self._number, _RELEASED)

    def _keep(self) -> None:
        while not self._over.wait(self._seconds / 4) and self.held:
            try:
                self._renew()
            except Exception:  # whatever a file system raises: a later renewal may get through
                continue

    def _renew(self) -> None:
        """Marks the file, and only then looks for a successor's: see `take`."""
        began = time.monotonic()
        try:
            self._store.mark(self._number)
        except FileNotFoundError:
            self._lost = True
            return
        if max(self._store.numbers(), default=0) != self._number:
            self._lost = True
        else:
            self._renewed = began


def take(
    place: str | os.PathLike[str], *, who: str | None = None, seconds: float = SECONDS
) -> Lease | None:
    """Takes a lease, unless another process holds it.

    Args:
        place: Its path without the number, such as ``out/sweep/runs/n1e6/.lease``, or gs://.
        who: What to call this process; ``process PID on HOST`` by default.
        seconds: Without renewal, after which others may take it over.

    Returns:
        The lease; None where it is held, by this process too.

    Raises:
        ScalaxError: The folder cannot be written, or the bucket be used.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> with take(f"{folder}/.lease", who="process 1 on host-a") as lease:
        ...     take(f"{folder}/.lease"), holder(f"{folder}/.lease").partition(" since ")[0]
        (None, 'process 1 on host-a')
        >>> holder(f"{folder}/.lease")
    """
    store = _store(place)
    try:
        before = store.numbers()
        last = max(before, default=0)
        if last and _lives(store, last, seconds):
            return None
        began, number = time.monotonic(), last + 1
        told = {
            "holder": who or f"process {os.getpid()} on {platform.node()}",
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "seconds": seconds,
        }
        if not store.create(number, json.dumps(told).encode()):
            return None
        # A slow process may create a number long passed; and the old holder may have woken since
        # it was judged, but then either it sees this file once it has renewed, or this sees that.
        if max(store.numbers()) != number or (last and _lives(store, last, seconds, gone=False)):
            store.delete(number)
            return None
        for old in before:
            store.delete(old)
    except OSError as error:
        if on_bucket(place):
            with bucket_errors(place):
                raise
        raise disk_error(error, store.place) from error
    return Lease(store, number, seconds, began)


def holder(place: str | os.PathLike[str]) -> str | None:
    """Who holds a lease, such as ``process 12 on host-a since 2026-01-31 08:00:00 UTC``."""
    found = Watch(place).look()
    return found.who if found else None


@dataclass(frozen=True)
class Held:
    """A lease that somebody holds.

    Attributes:
        who: The holder, as `holder` tells it.
        left: Seconds until it is free, unless renewed by then.
        renewed: Whether it was seen to be renewed, or taken by another.
    """

    who: str
    left: float
    renewed: bool


class Watch:
    """Tells a holder that lives from one that died, by looking at a lease from time to time.

    Args:
        place: As `take` has it.

    Example:
        >>> folder = tempfile.mkdtemp()
        >>> watch = Watch(f"{folder}/.lease")
        >>> with take(f"{folder}/.lease", who="host-a", seconds=0.4) as lease:
        ...     first = watch.look().renewed
        ...     time.sleep(0.3)
        ...     first, watch.look().renewed
        (False, True)
        >>> watch.look()
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self._store = _store(place)
        self._first: tuple[int, float] | None = None

    def look(self) -> Held | None:
        """How it stands now; None where it is free."""
        last = max(self._store.numbers(), default=0)
        if not last:
            return None
        try:
            found = self._store.read(last)
        except FileNotFoundError:  # as a rule, a successor deleted it this moment
            return self.look()
        left = _left(found, SECONDS)
        if left <= 0:
            return None
        self._first = self._first or (last, found.marked)
        who = "another process"
        with contextlib.suppress(ValueError, KeyError, TypeError):  # being written
            told = json.loads(found.told)
            who = f"{told['holder']} since {told['since']}"
        return Held(who, left, renewed=(last, found.marked) != self._first)


def _lives(store: _Store, number: int, seconds: float, *, gone: bool = True) -> bool:
    """Whether a holder has neither released nor let its time pass.

    Args:
        store: Where.
        number: Its number.
        seconds: Its time where its file does not say.
        gone: What to answer where the file is no more: as a rule, a successor deleted it.
    """
    try:
        return _left(store.read(number), seconds) > 0
    except FileNotFoundError:
        return gone


def _left(found: _Found, seconds: float) -> float:
    """Seconds that a holder has left: as many as its file says, or else those given."""
    if found.told == _RELEASED:
        return 0.0
    with contextlib.suppress(ValueError, KeyError, TypeError):  # not wholly written, yet or ever
        seconds = float(json.loads(found.told)["seconds"])
    return seconds - (found.now - found.marked)


class _Found(NamedTuple):
    """What a lease's file holds, when it was last marked, and now: by the file system's clock."""

    told: bytes
    marked: float
    now: float


class _Store(Protocol):
    """The numbered files of one lease."""

    place: str

    def numbers(self) -> list[int]:
        """Those there, as of now."""

    def create(self, number: int, data: bytes) -> bool:
        """Writes one that is not there; False where it is, also to all but one of many callers."""

    def read(self, number: int) -> _Found:
        """What one holds, and how old it is."""

    def mark(self, number: int) -> None:
        """Makes one as new."""

    def write(self, number: int, data: bytes) -> None:
        """Replaces what one holds."""

    def delete(self, number: int) -> None:
        """Removes one that may be gone."""


def _store(place: str | os.PathLike[str]) -> _Store:
    return _Bucket(place) if on_bucket(place) else _Local(Path(place))


class _Local:
    """A folder of this machine, or of a server: creating with O_EXCL is atomic on both."""

    def __init__(self, path: Path) -> None:
        self._path, self.place = path, str(path)

    def numbers(self) -> list[int]:
        try:
            names = [file.name for file in self._path.parent.iterdir()]
        except FileNotFoundError:
            return []
        return _numbers(self._path.name, names)

    def create(self, number: int, data: bytes) -> bool:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._file(number).open("xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        return True

    def read(self, number: int) -> _Found:
        with self._file(number).open("rb") as stream:  # opening asks an NFS server anew
            told, marked = stream.read(), os.fstat(stream.fileno()).st_mtime
        with tempfile.TemporaryFile(dir=self._path.parent) as now:
            now.write(b".")
            now.flush()
            return _Found(told, marked, os.fstat(now.fileno()).st_mtime)

    def mark(self, number: int) -> None:
        os.utime(self._file(number))

    def write(self, number: int, data: bytes) -> None:
        self._file(number).write_bytes(data)

    def delete(self, number: int) -> None:
        self._file(number).unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class _Bucket:
    """A gs:// folder: creating demands that the object's generation be 0."""

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self._files: Any = bucket_files(place)
        self.place = os.fspath(place)
        self._folder, _, self._name = self.place.rpartition("/")

    def numbers(self) -> list[int]:
        try:
            names = self._files.ls(self._folder, detail=False)
        except FileNotFoundError:
            return []
        return _numbers(self._name, [name.rpartition("/")[2] for name in names])

    def create(self, number: int, data: bytes) -> bool:
        try:
            self._files.pipe_file(self._file(number), data, mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, number: int) -> _Found:
        file, probe = self._file(number), f"{self.place}-now-{uuid.uuid4().hex}"
        told, marked = self._files.cat_file(file), self._files.modified(file).timestamp()
        self._files.pipe_file(probe, b".")
        try:
            return _Found(told, marked, self._files.modified(probe).timestamp())
        finally:
            self._files.rm_file(probe)

    def mark(self, number: int) -> None:
        self.write(number, self._files.cat_file(self._file(number)))

    def write(self, number: int, data: bytes) -> None:
        self._files.pipe_file(self._file(number), data)

    def delete(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._file(number))

    def _file(self, number: int) -> str:
        return f"{self.place}.{number}"


def _numbers(name: str, files: list[str]) -> list[int]:
    found = (re.fullmatch(rf"{re.escape(name)}\.(\d+)", file) for file in files)
    return [int(match[1]) for match in found if match]
