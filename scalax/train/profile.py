"""A trace of some steps, for xprof or TensorBoard's profile page. It changes nothing in them."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalax.errors import ScalaxError
from scalax.files import bucket_errors, bucket_files, on_bucket


@dataclass
class Profile:
    """Traces steps ``start`` to ``stop`` of the first run that reaches them; none by default.

    Runs may train side by side: one of them is traced, and what the others do meanwhile is in its
    trace, which jax makes of the whole process.

    Attributes:
        start: Steps done before the first one traced.
        stop: Steps done after the last one.
    """

    start: int = 0
    stop: int = 0
    _claimed: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Profile:
        """What ``--profile START:STOP`` means.

        Raises:
            ScalaxError: It is no such pair.

        Example:
            >>> Profile.parse("10:15").stop
            15
        """
        start, colon, stop = text.partition(":")
        if colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop):
            return cls(int(start), int(stop))
        raise ScalaxError(
            f"expected START:STOP, two steps of which the first is smaller, got {text!r}",
            where="--profile",
            fix="write --profile 10:15",
        )

    def check(self, steps: int) -> None:
        """Demands that the longest run has the steps.

        Raises:
            ScalaxError: It ends before.
        """
        if self.stop > steps:
            raise ScalaxError(
                f"the longest run ends after {steps} steps, before step {self.stop}",
                where="--profile",
                fix=f"write --profile {max(0, min(self.start, steps - 1))}:{steps}",
            )

    @contextmanager
    def watch(self, folder: Path) -> Iterator[Callable[[int, Any], None]]:
        """Gives what to call before each step, with the steps done and what is under way."""
        trace = _Trace(self, folder)
        try:
            yield trace.before
        finally:
            trace.end()

    def claim(self) -> bool:
        """Whether the caller is the one to trace: true once."""
        return self._claimed.acquire(blocking=False)  # never given back


class _Trace:
    """One stretch of training, which may come to be traced."""

    def __init__(self, asked: Profile, folder: Path) -> None:
        self._asked, self._place = asked, folder / "profile"
        self._local: str | None = None

    def before(self, done: int, pending: Any) -> None:
        """To be called before each step."""
        import jax

        asked = self._asked
        if self._local is not None and done >= asked.stop:
            jax.block_until_ready(pending)
            self.end()
        elif self._local is None and asked.start <= done < asked.stop and asked.claim():
            jax.block_until_ready(pending)
            local = tempfile.mkdtemp() if on_bucket(self._place) else str(self._place)
            jax.profiler.start_trace(local)
            self._local = local

    def end(self) -> None:
        """Ends the trace, where there is one, and leaves it in the run's folder."""
        if self._local is None:
            return
        import jax

        local, self._local = self._local, None
        jax.profiler.stop_trace()
        if on_bucket(self._place):  # jax writes to a disk alone
            with bucket_errors(self._place):
                bucket_files(self._place).put(f"{local}/", f"{self._place}/", recursive=True)
            shutil.rmtree(local)
