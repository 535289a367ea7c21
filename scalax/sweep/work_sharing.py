"""Decides which job trains which group of a sweep: one exclusive job, or several with leases.

A sharing job holds one lease for each group that it trains and one while it ends the sweep. When a
job dies, its leases expire and another job resumes its groups from their last checkpoints.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Self

from scalax.distributed import lease as leases
from scalax.distributed.folder_lock import FolderLock
from scalax.distributed.hosts import Hosts
from scalax.distributed.lease import Lease
from scalax.distributed.stopping import Stopped
from scalax.sweep.plan import Group

POLL_SECONDS = 1.0
"""Time between attempts to start while another job starts or may be alive."""

_JOB_PREFIX = "job-"


class ExclusiveJob:
    """A job that uses a folder exclusively.

    Args:
        folder: Folder of the sweep.
        hosts: Processes of this job.
        notify: Called on process 0 with a message when the job starts to wait.
    """

    def __init__(self, folder: Path, hosts: Hosts, notify: Callable[[str], None]) -> None:
        self._folder, self._hosts, self._notify = folder, hosts, notify
        self._lock = FolderLock(folder)
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._resources.enter_context(self._lock)
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @contextmanager
    def starting(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Enters a context in which the job may write the files that all jobs of the folder read.

        Args:
            stop: Returns True to stop waiting for another job.

        Raises:
            ScalaxError: Another job uses the folder.
            Stopped: ``stop`` returned True.
        """
        self._wait(self._lock.try_acquire, stop)
        self._wait(self._describe_sharing_job, stop)
        yield

    def claim(self, group: Group) -> AbstractContextManager[object] | None:
        """Claims a group until the context exits. Returns None if another job has claimed it."""
        del group
        return nullcontext()

    def finishing(self) -> AbstractContextManager[str | None]:
        """Claims the end of the sweep. The context gives the other job that has it, if any."""
        return nullcontext()

    def check(self) -> None:
        """Checks that no other job has taken over the folder.

        Raises:
            JobError: Another job has, or may have.
        """
        self._lock.check()

    def _wait(self, describe: Callable[[], str | None], stop: Callable[[], bool]) -> None:
        """Waits while process 0 gets a message from ``describe``, and reports the first message.

        Raises:
            Stopped: ``stop`` returned True.
        """
        notified = False
        while (message := self._hosts.on_first(describe)) is not None:
            if not notified:
                self._notify(message)
            notified = True
            if self._hosts.stop_requested(stop()):
                raise Stopped
            time.sleep(POLL_SECONDS)

    def _describe_sharing_job(self) -> str | None:
        """Describes a job that may still share the folder; None if there is none.

        Raises:
            ScalaxError: Such a job is alive.
        """
        folder = _lease_folder(self._folder)
        if not folder.is_dir():
            return None
        names = sorted({file.name.rpartition(".")[0] for file in folder.iterdir()})
        fix = "wait until that process ends, or add --share"
        messages = [
            self._lock.describe_holder(f"{folder}/{name}", detail=", which shares it", fix=fix)
            for name in names
            if name.startswith(_JOB_PREFIX)
        ]
        return next(filter(None, messages), None)


class WorkSharing(ExclusiveJob):
    """A job that trains the groups of a folder that no other job has claimed.

    Args:
        folder: Folder of the sweep.
        hosts: Processes of this job. Process 0 acquires the leases.
        notify: As in `ExclusiveJob`.
        seconds: Seconds without a renewed lease after which others take over the groups of a job.
    """

    def __init__(
        self, folder: Path, hosts: Hosts, notify: Callable[[str], None], seconds: float
    ) -> None:
        super().__init__(folder, hosts, notify)
        self._seconds, self._leases = seconds, list[Lease]()
        self._had_report = False

    @contextmanager
    def starting(self, stop: Callable[[], bool]) -> Iterator[None]:
        """As `ExclusiveJob.starting`, but fails only if an exclusive job uses the folder."""
        presence = self._acquire(f"{_JOB_PREFIX}{uuid.uuid4().hex[:12]}")
        assert presence is not None
        self._resources.enter_context(presence)
        while (turn := self._acquire("begin")) is None:
            if self._hosts.stop_requested(stop()):
                raise Stopped
            time.sleep(POLL_SECONDS)
        with turn, self._lock:
            self._wait(self._lock.try_acquire, stop)
            self._had_report = self._has_report()
            yield

    def claim(self, group: Group) -> AbstractContextManager[object] | None:
        """Claims a group until the context exits. Returns None if another job has claimed it."""
        return self._acquire(f"unit-{group.name}")

    @contextmanager
    def finishing(self) -> Iterator[str | None]:
        """Claims the end of the sweep, which only one job may do."""
        lease = self._acquire("end")
        if lease is None:
            path = self._lease_path("end")
            yield self._hosts.on_first(lambda: leases.holder(path)) or "another job"
            return
        with lease:
            had_report, self._had_report = self._had_report, self._has_report()
            yield "another job" if self._had_report and not had_report else None

    def check(self) -> None:
        """Checks that no other job has taken over a lease of this job.

        Raises:
            JobError: Another job has, or may have.
        """
        for lease in list(self._leases):
            lease.check()

    def _acquire(self, name: str) -> AbstractContextManager[object] | None:
        """Acquires a lease on process 0 for all processes. Returns None if another job holds it."""
        acquired: list[Lease] = []

        def acquire() -> bool:
            lease = leases.acquire(self._lease_path(name), seconds=self._seconds)
            acquired.extend([lease] if lease else [])
            return lease is not None

        if not self._hosts.on_first(acquire):
            return None
        return self._tracked(acquired[0]) if acquired else nullcontext()

    @contextmanager
    def _tracked(self, lease: Lease) -> Iterator[None]:
        """Holds a lease and includes it in `check` until the context exits."""
        self._leases.append(lease)
        try:
            with lease:
                yield
        finally:
            self._leases.remove(lease)

    def _lease_path(self, name: str) -> str:
        return f"{_lease_folder(self._folder)}/{name}"

    def _has_report(self) -> bool:
        """Returns whether process 0 sees a report; the same value on every process."""
        return bool(self._hosts.broadcast((self._folder / "report.html").is_file()))


def _lease_folder(folder: Path) -> Path:
    return folder / "leases"
