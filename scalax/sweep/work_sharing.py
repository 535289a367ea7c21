"""Several jobs take units from one sweep folder: a lease a unit, and one for what ends the sweep.

A job that dies is taken over once its leases have run out; what it trained goes on from its last
checkpoint. Nothing here trains.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from scalax.distributed import lease as leases
from scalax.distributed.folder_lock import Hold, Leases
from scalax.distributed.hosts import Hosts
from scalax.distributed.lease import Lease
from scalax.distributed.stopping import Stopped
from scalax.sweep.execution_plan import Unit

SECONDS = 1.0
"""Between tries to begin while another job does, or may."""

_JOB = "job-"


class Alone:
    """A job that has the folder to itself.

    Args:
        folder: The sweep's.
        hosts: The processes of the job.
        note: Told, on process 0, what is waited for.
    """

    def __init__(self, folder: Path, hosts: Hosts, note: Callable[[str], None]) -> None:
        self._folder, self._hosts, self._note = folder, hosts, note
        self._hold = Hold(folder)
        self._over = contextlib.ExitStack()

    def __enter__(self) -> Alone:
        self._over.enter_context(self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.close()

    @contextmanager
    def beginning(self, stop: Callable[[], bool]) -> Iterator[None]:
        """While inside, what all jobs of the folder go by may be written.

        Args:
            stop: Whether to stop waiting for another job: to have done so, or to prove dead.

        Raises:
            ScalaxError: The folder is in use.
            Stopped: ``stop`` said so.
        """
        sharing = Leases(self._folder)
        self._wait(self._hold.take, stop)
        self._wait(lambda: _doubt_sharing(self._folder, sharing), stop)
        yield

    def _wait(self, doubt: Callable[[], str | None], stop: Callable[[], bool]) -> None:
        """Waits while process 0 doubts, having said so once.

        Raises:
            Stopped: ``stop`` said so.
        """
        said = False
        while (told := self._hosts.on_first(doubt)) is not None:
            if not said:
                self._note(told)
            said = True
            if self._hosts.stop_asked(stop()):
                raise Stopped
            time.sleep(SECONDS)

    def claim(self, unit: Unit) -> AbstractContextManager[object] | None:
        """Claims a unit until the context is left; None where another job has it."""
        del unit
        return nullcontext()

    def ending(self) -> AbstractContextManager[str | None]:
        """Claims the end of the sweep; gives who has it, where that is another job."""
        return nullcontext()

    def check(self) -> None:
        """Demands that no other job have taken over what this one holds.

        Raises:
            JobError: One did, or may have.
        """
        self._hold.check()


class Sharing(Alone):
    """A job that takes what the others of the folder do not.

    Args:
        folder: The sweep's.
        hosts: The processes of the job; the first takes its leases.
        note: As `Alone` has it.
        seconds: Without a sign of a job, after which others take over what it was at.
    """

    def __init__(
        self, folder: Path, hosts: Hosts, note: Callable[[str], None], seconds: float
    ) -> None:
        super().__init__(folder, hosts, note)
        self._seconds, self._held = seconds, list[Lease]()
        self._reported = False

    @contextmanager
    def beginning(self, stop: Callable[[], bool]) -> Iterator[None]:
        """As `Alone.beginning`: refused only where a job has the folder to itself."""
        presence = self.take(f"{_JOB}{uuid.uuid4().hex[:12]}")
        assert presence is not None
        self._over.enter_context(presence)
        while (turn := self.take("begin")) is None:
            if self._hosts.stop_asked(stop()):
                raise Stopped
            time.sleep(SECONDS)
        with turn, self._hold:
            self._wait(self._hold.take, stop)
            self._reported = self._hosts.agree(self._report.is_file())
            yield

    def claim(self, unit: Unit) -> AbstractContextManager[object] | None:
        """As `Alone.claim`."""
        return self.take(f"unit-{unit.name}")

    @contextmanager
    def ending(self) -> Iterator[str | None]:
        """As `Alone.ending`; one job alone ends a sweep."""
        lease = self.take("end")
        if lease is None:
            holder = self._hosts.on_first(lambda: leases.holder(self._place("end")))
            yield holder or "another job"
            return
        with lease:
            before, self._reported = self._reported, self._hosts.agree(self._report.is_file())
            yield "another job" if self._reported and not before else None

    def check(self) -> None:
        """As `Alone.check`."""
        for lease in list(self._held):
            lease.check()

    def take(self, name: str) -> AbstractContextManager[object] | None:
        """A lease that process 0 takes for all; None where another job has it."""
        taken: list[Lease] = []

        def take() -> bool:
            lease = leases.take(self._place(name), seconds=self._seconds)
            taken.extend([lease] if lease else [])
            return lease is not None

        if not self._hosts.on_first(take):
            return None
        return self._holding(taken[0]) if taken else nullcontext()

    @contextmanager
    def _holding(self, lease: Lease) -> Iterator[None]:
        self._held.append(lease)
        try:
            with lease:
                yield
        finally:
            self._held.remove(lease)

    def _place(self, name: str) -> str:
        return f"{_leases(self._folder)}/{name}"

    @property
    def _report(self) -> Path:
        return self._folder / "report.html"


def _leases(folder: Path) -> Path:
    return folder / "leases"


def _doubt_sharing(folder: Path, sharing: Leases) -> str | None:
    """What job may share the folder still, told in a sentence; None where none does.

    Raises:
        ScalaxError: One is at it.
    """
    there = _leases(folder)
    if not there.is_dir():
        return None
    names = sorted({file.name.rpartition(".")[0] for file in there.iterdir()})
    places = [f"{there}/{name}" for name in names if name.startswith(_JOB)]
    fix = "wait for it, or add --share"
    doubts = [sharing.doubt(place, also=", which shares it", fix=fix) for place in places]
    return next(filter(None, doubts), None)
