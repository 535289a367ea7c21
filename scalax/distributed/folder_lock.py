"""An exclusive lock on a sweep's folder, so that two jobs never write to the same folder.

Local folders use an OS file lock, released when the process exits. Buckets have no locks and use a
lease. The lease of a killed job outlives the job, so a second job first waits to see whether the
lease is still renewed.
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
from typing import Self

from scalax.distributed import lease as leases
from scalax.distributed.lease import Lease, LeaseStatus, lease_status
from scalax.errors import ScalaxError
from scalax.files import bucket_errors, disk_error, on_bucket


class FolderLock:
    """An exclusive lock on a folder, acquired by process 0. Leaving its context releases it.

    Args:
        folder: Folder of the sweep, local or in a bucket.
        seconds: Time without renewal after which another job may take over a folder in a bucket.
    """

    def __init__(self, folder: Path, seconds: float = leases.SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._resources = contextlib.ExitStack()
        self._lease: Lease | None = None
        self._first_status: dict[str, LeaseStatus] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def try_acquire(self) -> str | None:
        """Acquires the lock if it is free.

        Returns:
            None if acquired; otherwise a message about a holder that may be dead: try again later.

        Raises:
            ScalaxError: Another job holds the lock; the message names its process, host and start.
        """
        if not on_bucket(self._folder):
            self._resources.enter_context(_os_lock(self._folder))
            return None
        path = f"{self._folder}/.lock"
        with bucket_errors(self._folder):
            self._lease = leases.acquire(path, seconds=self._seconds)
            if self._lease is None:
                return self.describe_holder(path) or self.try_acquire()
        self._resources.enter_context(self._lease)
        return None

    def describe_holder(self, path: str, detail: str = "", fix: str | None = None) -> str | None:
        """Describes a process that may still hold a lease in this folder, to be called repeatedly.

        Args:
            path: Path of the lease.
            detail: Text to add after the holder's name.
            fix: Fix for the error.

        Returns:
            A message, or None if the lease is free.

        Raises:
            ScalaxError: The lease was renewed since the first call, so its holder is alive.
        """
        status = lease_status(path)
        if status is None:
            return None
        if status.version != self._first_status.setdefault(path, status).version:
            raise _in_use(self._folder, f"{status.holder}{detail}", fix)
        return (
            f"{self._folder}: locked by {status.holder}{detail}; waiting up to "
            f"{math.ceil(status.seconds_left)} s to see whether that process is alive"
        )

    def check(self) -> None:
        """Checks that no other job has taken over the folder. Any process may call this.

        Raises:
            JobError: The lease was not renewed in time, or another process acquired it.
        """
        if self._lease is not None:
            self._lease.check()


@contextmanager
def _os_lock(folder: Path) -> Iterator[None]:
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
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
    fix = fix or "wait until that process ends, or choose another --out"
    return ScalaxError(f"in use by {holder}", where=str(folder), fix=fix)
