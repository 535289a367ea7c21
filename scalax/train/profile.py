"""A trace of some steps, for xprof or TensorBoard's profile page. It changes nothing in them."""

from __future__ import annotations

import shutil
import tempfile
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

    Attributes:
        start: Steps done before the first one traced.
        stop: Steps done after the last one.
    """

    start: int = 0
    stop: int = 0
    _tracing: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)
    _place: Path = field(default=Path(), init=False)
    _local: str = field(default="", init=False)

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
        try:
            yield lambda done, pending: self._before(done, pending, folder)
        finally:
            self._end()

    def _before(self, done: int, pending: Any, folder: Path) -> None:
        import jax

        if self._tracing and done >= self.stop:
            jax.block_until_ready(pending)
            self._end()
        elif not self._over and not self._tracing and self.start <= done < self.stop:
            jax.block_until_ready(pending)
            self._place = folder / "profile"
            self._local = tempfile.mkdtemp() if on_bucket(folder) else str(self._place)
            jax.profiler.start_trace(self._local)
            self._tracing = True

    def _end(self) -> None:
        if self._tracing:
            import jax

            jax.profiler.stop_trace()
            if on_bucket(self._place):  # jax writes to a disk alone
                with bucket_errors(self._place):
                    bucket_files(self._place).put(
                        f"{self._local}/", f"{self._place}/", recursive=True
                    )
                shutil.rmtree(self._local)
            self._tracing, self._over = False, True
