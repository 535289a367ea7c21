"""A lease: a lock with a time-out, for processes on any machines that share a folder or a bucket.

The holder renews the lease. When the holder dies, the lease expires and another process may acquire
it. Each holder creates a file with the next number (``NAME.1``, ``NAME.2``, ...); the file system
lets only one process create it, and the highest number is the current holder. Ages are computed
from the file system's clock alone, so that clock differences between hosts do not matter.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from scalax.distributed.lease_store import LeaseFile, LeaseStore, open_store
from scalax.errors import JobError
from scalax.files import bucket_errors, disk_error, on_bucket

SECONDS = 60.0
"""Default time without renewal after which a lease expires. Holders renew four times as often."""

_RELEASED = b"released"


class Lease:
    """A lease that this process acquired; see `acquire`. Leaving its context releases the lease."""

    def __init__(self, store: LeaseStore, number: int, seconds: float, started: float) -> None:
        self._store, self._number, self._seconds = store, number, seconds
        self._renewed = started  # this host's monotonic clock, read before the file was written
        self._lost = False
        self._released = threading.Event()
        self._thread = threading.Thread(
            target=self._renew_until_released, name="lease", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def held(self) -> bool:
        """Whether no other process can hold the lease now."""
        return not self._lost and time.monotonic() - self._renewed < self._seconds

    def check(self) -> None:
        """Checks that the lease is still held. Call this before work that must not be done twice.

        Raises:
            JobError: The lease was not renewed in time, or another process acquired it.
        """
        if self.held:
            return
        if self._lost:
            reason = f"{holder(self._store.path) or 'another process'} took it over"
        else:
            reason = f"it could not be renewed for {self._seconds:g} s"
        raise JobError(
            f"lost the lease: {reason}",
            where=self._store.path,
            fix="check whether another job uses this folder; repeat the command to resume",
        )

    def release(self) -> None:
        """Releases the lease, so that another process can acquire it at once."""
        self._released.set()
        self._thread.join()
        if self.held:
            with contextlib.suppress(Exception):  # on any failure the lease expires by itself
                self._store.write(self._number, _RELEASED)

    def _renew_until_released(self) -> None:
        while not self._released.wait(self._seconds / 4) and self.held:
            try:
                self._renew()
            except Exception:  # file systems raise many types; a later renewal may succeed
                continue

    def _renew(self) -> None:
        """Touches the file, and only then looks for a successor; `acquire` relies on this order."""
        started = time.monotonic()
        try:
            self._store.touch(self._number)
        except FileNotFoundError:
            self._lost = True
            return
        if max(self._store.numbers(), default=0) != self._number:
            self._lost = True
        else:
            self._renewed = started


def acquire(
    path: str | os.PathLike[str], *, who: str | None = None, seconds: float = SECONDS
) -> Lease | None:
    """Acquires a lease unless a process holds it.

    Args:
        path: Path of the lease without its number, such as ``out/sweep/runs/n1e6/.lease``, local or
            gs://.
        who: Name of this process; ``process PID on HOST`` by default.
        seconds: Time without renewal after which the lease expires.

    Returns:
        The lease, or None if a process (this one included) holds it.

    Raises:
        ScalaxError: The folder is not writable, or the bucket is not accessible.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with acquire(f"{folder}/.lease", who="process 1 on host-a") as lease:
        ...     acquire(f"{folder}/.lease"), holder(f"{folder}/.lease").partition(" since ")[0]
        (None, 'process 1 on host-a')
        >>> holder(f"{folder}/.lease")
    """
    store = open_store(path)
    try:
        existing = store.numbers()
        last = max(existing, default=0)
        if last and _is_alive(store, last, seconds):
            return None
        started, number = time.monotonic(), last + 1
        record = {
            "holder": who or f"process {os.getpid()} on {platform.node()}",
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "seconds": seconds,
        }
        if not store.create(number, json.dumps(record).encode()):
            return None
        # A slow process may create a number that others passed long ago. And the previous holder
        # may have woken up since it was judged dead: then either it sees this file after its
        # renewal, or this process sees the renewal here.
        renewed = last and _is_alive(store, last, seconds, if_missing=False)
        if max(store.numbers()) != number or renewed:
            store.delete(number)
            return None
        for old in existing:
            store.delete(old)
    except OSError as error:
        if on_bucket(path):
            with bucket_errors(path):
                raise
        raise disk_error(error, store.path) from error
    return Lease(store, number, seconds, started)


@dataclass(frozen=True)
class LeaseStatus:
    """The holder of a lease at one time. Two statuses with unequal `version` prove a renewal.

    Attributes:
        holder: The holder, such as ``process 12 on host-a since 2026-01-31 08:00:00 UTC``.
        seconds_left: Seconds until the lease expires unless it is renewed.
        version: Number of the holder's file and time of its last modification.
    """

    holder: str
    seconds_left: float
    version: tuple[int, float]


def lease_status(path: str | os.PathLike[str]) -> LeaseStatus | None:
    """Returns the holder of a lease, or None if the lease is free.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/.lease"
        >>> with acquire(path, who="host-a", seconds=0.4):
        ...     first = lease_status(path)
        ...     time.sleep(0.3)
        ...     lease_status(path).version == first.version
        False
        >>> lease_status(path)
    """
    store = open_store(path)
    while number := max(store.numbers(), default=0):
        try:
            file = store.read(number)
        except FileNotFoundError:  # a successor has just deleted it: look again
            continue
        seconds_left = _seconds_left(file, SECONDS)
        if seconds_left <= 0:
            return None
        name = "another process"
        with contextlib.suppress(ValueError, KeyError, TypeError):  # the file is being written
            record = json.loads(file.content)
            name = f"{record['holder']} since {record['since']}"
        return LeaseStatus(name, seconds_left, (number, file.modified))
    return None


def holder(path: str | os.PathLike[str]) -> str | None:
    """Returns the name of the process that holds a lease, or None if the lease is free."""
    status = lease_status(path)
    return status.holder if status else None


def _is_alive(store: LeaseStore, number: int, seconds: float, *, if_missing: bool = True) -> bool:
    """Returns whether a holder has neither released its lease nor let it expire.

    Args:
        store: Files of the lease.
        number: Number of the holder's file.
        seconds: Time-out for a file that does not state its own.
        if_missing: Result for a missing file, which a successor usually deleted.
    """
    try:
        return _seconds_left(store.read(number), seconds) > 0
    except FileNotFoundError:
        return if_missing


def _seconds_left(file: LeaseFile, default_seconds: float) -> float:
    """Returns the seconds until expiry, by the time-out in the file or else the default."""
    if file.content == _RELEASED:
        return 0.0
    seconds = default_seconds
    with contextlib.suppress(ValueError, KeyError, TypeError):  # partly written
        seconds = float(json.loads(file.content)["seconds"])
    return seconds - (file.now - file.modified)
