"""Notices a step that never ends: writes where every thread stands, and ends the job with exit 3.

A process whose training thread hangs still beats (see `heartbeat`), and the others wait for it in
a collective; each therefore tells how far it has come, and the one that is behind is named.
"""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from scalax.distributed.hosts import Hosts
from scalax.files import write_bytes

FACTOR = 20.0
"""A step may take so many times the median of those before it, or the floor if that is longer."""

FIRST = 6.0
"""The first two steps of a stretch, which load and compile, may take so many times the floor."""

_MEMORY = 64  # steps
_TICK = 1.0  # seconds


class Watchdog:
    """Watches the steps of one stretch of training.

    Rests are not watched.

    Args:
        floor: Least seconds of one step that are taken for a hang; None never watches.
        folder: The run's; stacks go to ``stacks-process-K.txt`` in it.
        hosts: The processes of the job.
        step: Steps done before.
    """

    def __init__(self, floor: float | None, folder: Path, hosts: Hosts, step: int) -> None:
        self._floor, self._folder, self._hosts = floor, folder, hosts
        self._took: deque[float] = deque(maxlen=_MEMORY)
        self._began: float | None = None
        self._step, self._ticks = step, 0
        self._resting = False
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches while inside."""
        if self._floor is None:
            yield
            return
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        with self._hosts.on_hang(self._dump):
            thread.start()
            try:
                yield
            finally:
                self._over.set()
                thread.join()

    def reached(self, step: int, *, entered: bool = False) -> None:
        """Says how far this process has come; any sign of life will do.

        Args:
            step: Steps done.
            entered: Whether the next one has its batch, and can only wait for the others.
        """
        self._hosts.came_on()
        if entered:
            return
        now = time.monotonic()
        if self._began is not None:
            self._took.append(now - self._began)
        self._began, self._step, self._ticks, self._resting = now, step, 0, False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Does not watch what is inside, such as a checkpoint or a first evaluation."""
        self._resting, self._began = True, None
        try:
            yield
        finally:
            self._ticks, self._resting = 0, False

    def _watch(self) -> None:
        assert self._floor is not None
        tick = min(_TICK, self._floor / 8)
        while not self._over.wait(tick):
            self._ticks += 1  # not the clock's word: a process that was stopped makes no ticks
            passed = self._ticks * tick
            limit, usual = self._limit(self._floor)
            if passed > limit and not self._resting:
                file = self._dump()
                self._hosts.hang(
                    f"no step for {passed:.0f} s after step {self._step}, where {usual}; "
                    f"what each thread was at is in {file}"
                )

    def _limit(self, floor: float) -> tuple[float, str]:
        """Most seconds of the step under way, and what is usual."""
        if len(self._took) < 2:
            return FIRST * floor, f"the first ones may take {FIRST * floor:.3g} s"
        usual = median(self._took)
        return max(floor, FACTOR * usual), f"one takes {usual:.3g} s"

    def _dump(self) -> Path:
        """Writes the stack of every thread to standard error and to the run's folder."""
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        file = self._folder / f"stacks-process-{self._hosts.process}.txt"
        with tempfile.TemporaryFile() as stream:
            faulthandler.dump_traceback(stream)
            stream.seek(0)
            try:
                write_bytes(file, stream.read())
            except Exception as error:  # it is on standard error; the job must end all the same
                print(f"scalax: {error}", file=sys.stderr)
        return file
