"""Measures the seconds that JAX spends on tracing, lowering and compiling, for each thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import jax


class CompileTime(threading.local):
    """Seconds of compilation in the current thread.

    JAX reports each stage when it ends, in the thread that requested it. A stage may contain
    another one, such as a jitted function traced inside a jitted function; only the outermost
    counts.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._taken = 0.0
        self._recent: list[tuple[float, float]] = []

    def listen(self) -> CompileTime:
        """Starts to count, in every thread."""
        jax.monitoring.register_event_duration_secs_listener(self._on_event)
        return self

    def take(self) -> float:
        """Returns the seconds since the last call."""
        new, self._taken = self.seconds - self._taken, self.seconds
        return new

    def _on_event(self, event: str, duration_secs: float, **_: Any) -> None:
        if not event.startswith("/jax/core/compile/"):
            return
        start = time.monotonic() - duration_secs
        while self._recent and self._recent[-1][0] >= start:
            self.seconds -= self._recent.pop()[1]
        self._recent.append((start, duration_secs))
        self.seconds += duration_secs
        del self._recent[:-10_000]


COMPILE_TIME = CompileTime().listen()
"""The compilation time of the current thread."""
