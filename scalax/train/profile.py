"""Traces steps for xprof or TensorBoard's profile page, without changing their results."""

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

    If several runs train at the same time, one of them is traced. JAX traces the whole process, so
    the trace also shows what the others do meanwhile.

    Attributes:
        start: Steps completed before the first traced step.
        stop: Steps completed after the last traced step.
    """

    start: int = 0
    stop: int = 0
    _claimed: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Profile:
        """Parses the value of ``--profile START:STOP``.

        Raises:
            ScalaxError: The value is not a pair of increasing steps.

        Example:
            >>> Profile.parse("10:15").stop
            15
        """
        start, colon, stop = text.partition(":")
        if colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop):
            return cls(int(start), int(stop))
        raise ScalaxError(
            f"expected START:STOP with START < STOP, got {text!r}",
            where="--profile",
            fix="write --profile 10:15",
        )

    def check(self, steps: int) -> None:
        """Checks that the longest run reaches the traced steps.

        Args:
            steps: Steps of the longest run.

        Raises:
            ScalaxError: The longest run ends before ``stop``.
        """
        if self.stop > steps:
            raise ScalaxError(
                f"the longest run ends after {steps} steps, before step {self.stop}",
                where="--profile",
                fix=f"write --profile {max(0, min(self.start, steps - 1))}:{steps}",
            )

    @contextmanager
    def watch(self, folder: Path) -> Iterator[Callable[[int, Any], None]]:
        """Yields a function to call before each step, with completed steps and pending arrays."""
        trace = _Trace(self, folder)
        try:
            yield trace.before
        finally:
            trace.end()

    def claim(self) -> bool:
        """Returns True to the first caller only, which may trace."""
        return self._claimed.acquire(blocking=False)  # never released


class _Trace:
    """One call of the training loop, which may be traced."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self._profile, self._folder = profile, folder / "profile"
        self._local: str | None = None

    def before(self, done: int, pending: Any) -> None:
        """Starts or ends the trace; called before each step."""
        import jax

        profile = self._profile
        if self._local is not None and done >= profile.stop:
            jax.block_until_ready(pending)
            self.end()
        elif self._local is None and profile.start <= done < profile.stop and profile.claim():
            jax.block_until_ready(pending)
            local = tempfile.mkdtemp() if on_bucket(self._folder) else str(self._folder)
            jax.profiler.start_trace(local)
            self._local = local

    def end(self) -> None:
        """Ends the trace, if one was started, and stores it in the run's folder."""
        if self._local is None:
            return
        import jax

        local, self._local = self._local, None
        jax.profiler.stop_trace()
        if on_bucket(self._folder):  # JAX writes to local disks only
            with bucket_errors(self._folder):
                bucket_files(self._folder).put(f"{local}/", f"{self._folder}/", recursive=True)
            shutil.rmtree(local)
