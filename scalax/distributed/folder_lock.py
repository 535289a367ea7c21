"""Holds a sweep's folder for one job, so that a second one is told who works there.

On a disk the system's own lock does, which goes with its process at once; a bucket has none, and
takes a lease. That of a job that was killed outlives it, so that a second one first looks whether
it is still renewed.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scalax.distributed import lease as leases
from scalax.distributed.lease import Lease, Watch
from scalax.errors import ScalaxError
from scalax.files import bucket_errors, disk_error, on_bucket


class Hold:
    """One job's hold on a folder; process 0 takes it for all.

    Args:
        folder: The sweep's.
        seconds: Without a sign of this job, after which another may have a bucket's folder.
    """

    def __init__(self, folder: Path, seconds: float = leases.SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._held = contextlib.ExitStack()
        self._lease: Lease | None = None
        self._before = Leases(folder)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def take(self) -> str | None:
        """Takes it until this context ends, if it can be had by now.

        Returns:
            None where it was taken; else who may hold it still: to be asked again in a while.

        Raises:
            ScalaxError: Another job holds it: says which process, on which host, since when.
        """
        if not on_bucket(self._folder):
            self._held.enter_context(_locked(self._folder))
            return None
        lock = f"{self._folder}/.lock"
        with bucket_errors(self._folder):
            self._lease = leases.take(lock, seconds=self._seconds)
            if self._lease is None:
                return self._before.doubt(lock) or self.take()
        self._held.enter_context(self._lease)
        return None

    def check(self) -> None:
        """Demands that no other job hold it by now; asked on any process, at any time.

        Raises:
            JobError: A lease could not be renewed, or was taken over.
        """
        if self._lease is not None:
            self._lease.check()


class Leases:
    """Leases found on a folder, each of a job that works there or was killed.

    Args:
        folder: The sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watched: dict[str, Watch] = {}

    def doubt(self, place: str, also: str = "", fix: str | None = None) -> str | None:
        """Who may hold a lease still, told in a sentence; None where it is free.

        Args:
            place: The lease's.
            also: What else to say of the holder.
            fix: What to do where the holder lives.

        Raises:
            ScalaxError: It was renewed since this was first asked, so that its holder lives.
        """
        found = self._watched.setdefault(place, Watch(place)).look()
        if found is None:
            return None
        if found.renewed:
            raise _in_use(self._folder, f"{found.who}{also}", fix)
        return (
            f"{self._folder}: held by {found.who}{also}; waiting to see whether that still works "
            f"there, {math.ceil(found.left)} s at most"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise disk_error(error, folder) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise _in_use(folder, stream.read().strip() or "another process") from None
        stream.truncate(0)
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        stream.write(f"process {os.getpid()} on {platform.node()} since {since}")
        stream.flush()
        yield


def _in_use(folder: Path, holder: str, fix: str | None = None) -> ScalaxError:
    """The error that tells who works in a folder."""
    fix = fix or "wait for it, or give another --out"
    return ScalaxError(f"in use by {holder}", where=str(folder), fix=fix)
