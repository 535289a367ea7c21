"""Detects a training step that never ends, dumps the stack of every thread and exits with code 3.

A process whose training thread hangs still sends heartbeats while the others wait for it in a
collective. Each process therefore reports its progress, so that the one that is behind can be
named.
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
"""A step may take this multiple of the median step, or the minimum if that is longer."""

FIRST = 6.0
"""Each of the first two steps, which load and compile, may take this multiple of the minimum."""

_MEMORY = 64  # steps
_TICK = 1.0  # seconds


class Watchdog:
    """Watches the steps of one call of the training loop, except in `paused` contexts.

    Args:
        min_seconds: Shortest step that may count as a hang; None turns the watchdog off.
        folder: Folder of the run, for the stacks: ``stacks-process-K.txt``.
        hosts: Processes of the job.
        step: Steps completed before.
    """

    def __init__(self, min_seconds: float | None, folder: Path, hosts: Hosts, step: int) -> None:
        self._min_seconds, self._folder, self._hosts = min_seconds, folder, hosts
        self._step_seconds: deque[float] = deque(maxlen=_MEMORY)
        self._step_started: float | None = None
        self._step, self._ticks = step, 0
        self._paused = False
        self._stopped = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watches inside this context."""
        if self._min_seconds is None:
            yield
            return
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        with self._hosts.on_hang(self._dump_stacks):
            thread.start()
            try:
                yield
            finally:
                self._stopped.set()
                thread.join()

    def entering_step(self) -> None:
        """Reports that the next step has its batch: it can only wait for other processes."""
        self._hosts.report_progress()

    def step_done(self, step: int) -> None:
        """Reports that a step was completed.

        Args:
            step: Steps completed.
        """
        self._hosts.report_progress()
        now = time.monotonic()
        if self._step_started is not None:
            self._step_seconds.append(now - self._step_started)
        self._step_started, self._step, self._ticks, self._paused = now, step, 0, False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Does not watch inside this context, such as during a checkpoint or an evaluation."""
        self._paused, self._step_started = True, None
        try:
            yield
        finally:
            self._ticks, self._paused = 0, False

    def _watch(self) -> None:
        assert self._min_seconds is not None
        tick = min(_TICK, self._min_seconds / 8)
        while not self._stopped.wait(tick):
            self._ticks += 1  # rather than the clock, which runs on while a process is suspended
            elapsed = self._ticks * tick
            limit, usual = self._limit(self._min_seconds)
            if elapsed > limit and not self._paused:
                file = self._dump_stacks()
                self._hosts.report_hang(
                    f"no step for {elapsed:.0f} s after step {self._step}, where {usual}; "
                    f"the stack of each thread is in {file}"
                )

    def _limit(self, min_seconds: float) -> tuple[float, str]:
        """Returns the longest time that the current step may take, and what is usual."""
        if len(self._step_seconds) < 2:
            return FIRST * min_seconds, f"the first steps may take {FIRST * min_seconds:.3g} s"
        usual = median(self._step_seconds)
        return max(min_seconds, FACTOR * usual), f"a step usually takes {usual:.3g} s"

    def _dump_stacks(self) -> Path:
        """Writes the stack of every thread to standard error and to the run's folder."""
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        file = self._folder / f"stacks-process-{self._hosts.process}.txt"
        with tempfile.TemporaryFile() as stream:
            faulthandler.dump_traceback(stream)
            stream.seek(0)
            try:
                write_bytes(file, stream.read())
            except Exception as error:  # the stacks are on standard error; the job must still end
                print(f"scalax: {error}", file=sys.stderr)
        return file
