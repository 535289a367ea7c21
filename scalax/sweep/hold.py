"""Holds a sweep's folder for one job, so that a second one is told who works there.

On a disk the system's own lock does, which goes with its process at once; a bucket has none, and
takes a lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scalax import lease as leases
from scalax.errors import ScalaxError
from scalax.files import bucket_errors, disk_error, on_bucket
from scalax.lease import Lease


class Hold:
    """One job's hold on a folder; process 0 takes it for all.

    Args:
        folder: The sweep's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = contextlib.ExitStack()
        self._lease: Lease | None = None

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def take(self) -> None:
        """Takes it, until this context ends.

        Raises:
            ScalaxError: Another job holds it: says which process, on which host, since when.
        """
        if on_bucket(self._folder):
            self._lease = self._held.enter_context(_leased(self._folder))
        else:
            self._held.enter_context(_locked(self._folder))

    def check(self) -> None:
        """Demands that no other job hold it by now; asked on any process, at any time.

        Raises:
            JobError: A lease could not be renewed, or was taken over.
        """
        if self._lease is not None:
            self._lease.check()


def _leased(folder: Path) -> Lease:
    lock = f"{folder}/.lock"
    with bucket_errors(folder):
        lease = leases.take(lock)
        if lease is None:
            raise in_use(folder, leases.holder(lock))
        return lease


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
            raise in_use(folder, stream.read().strip()) from None
        stream.truncate(0)
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        stream.write(f"process {os.getpid()} on {platform.node()} since {since}")
        stream.flush()
        yield


def in_use(
    folder: Path, holder: str | None, fix: str = "wait for it, or give another --out"
) -> ScalaxError:
    """The error that tells who works in a folder."""
    return ScalaxError(f"in use by {holder or 'another process'}", where=str(folder), fix=fix)
