"""Detects that another process of the job died or failed, and ends this one with exit code 3.

Each process increments a counter of its own in JAX's key-value store once a second, together with
its training progress. A process whose counter stops is dead. A process that fails writes a failure
message there, which all others print. JAX has heartbeats too, but aborts on a lost process; that
abort is caught here, so that the exit code is 3.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

SECONDS = 1.0
"""Seconds between two beats."""

DEAD_AFTER = 30.0
"""Seconds without a beat after which a process counts as dead."""

DEAD_AFTER_FAILURE = 8.0
"""The same, after an exchange with the other processes has failed."""

_BEATS, _FAILURES = "scalax/beat/", "scalax/failure/"
_exiting = threading.Lock()


def end_process(message: str, code: int = 3, *, linger: bool = False) -> NoReturn:
    """Ends this process at once with one line on standard error; only the first caller prints.

    A normal exit of JAX would wait for processes that are dead.

    Args:
        message: What happened.
        code: Exit code.
        linger: Whether to wait a few seconds first. Process 0 hosts the key-value store, in which
            the others read why they end.
    """
    if _exiting.acquire(blocking=False):
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, f"scalax: {message}\n".encode())
        if linger:
            time.sleep(3 * SECONDS)
        os._exit(code)
    while True:  # another thread ends the process
        time.sleep(1)


class Heartbeat:
    """Sends the beats of this process and watches those of the others.

    Args:
        client: JAX's client of the key-value store.
        process: Index of this process.
        names: Name of each process, such as ``process 1 on host-b``.
    """

    def __init__(self, client: Any, process: int, names: list[str]) -> None:
        self._client, self._process, self._names = client, process, names
        self._dead_after = DEAD_AFTER
        self.progress = 0
        self.on_hang: Callable[[], object] = do_nothing
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Starts to send beats."""
        catch_abort(self._lost_coordinator())
        self._thread.start()

    def stop(self) -> None:
        """Stops the beats. Call this only after every process has reached the end."""
        self._stopped.set()
        self._thread.join()
        self._client.key_value_delete(f"{_BEATS}{self._process}")

    def wait_for_failure(self) -> None:
        """Waits long enough to notice that another process failed, which ends this one."""
        self._dead_after = DEAD_AFTER_FAILURE
        time.sleep(DEAD_AFTER_FAILURE + 3 * SECONDS)

    def announce_failure(self, reason: str) -> None:
        """Publishes the failure of this process, which ends the others."""
        self._publish(f"{self._names[self._process]} ended the job: {reason}")

    def report_hang(self, reason: str) -> NoReturn:
        """Ends the job because it makes no progress, and names the processes that are behind."""
        beats = self._client.key_value_dir_get(_BEATS)
        progress = {int(key.rpartition("/")[2]): int(beat.split()[1]) for key, beat in beats}
        progress[self._process] = self.progress
        slowest = min(progress.values())
        behind = [self._names[k] for k in sorted(progress) if progress[k] == slowest]
        if len(behind) == len(progress):
            message = f"every process waits: {reason}"
        else:
            message = f"{', '.join(behind)} hangs, and the others wait: {reason}"
        self._publish(message, hung=True)
        self._end(message)

    def _publish(self, message: str, *, hung: bool = False) -> None:
        self._client.key_value_set(
            f"{_FAILURES}{self._process}", json.dumps([message, hung]), allow_overwrite=True
        )

    def _run(self) -> None:
        count = 0
        last_change: dict[str, tuple[str, float]] = {}
        while not self._stopped.wait(SECONDS):
            count += 1
            try:
                self._client.key_value_set(
                    f"{_BEATS}{self._process}", f"{count} {self.progress}", allow_overwrite=True
                )
                failures = self._client.key_value_dir_get(_FAILURES)
                beats = self._client.key_value_dir_get(_BEATS)
            except Exception:  # any error of the client: the store is unreachable
                if self._stopped.is_set():
                    return
                end_process(self._lost_coordinator())
            self._check_failures(failures)
            self._check_beats(beats, last_change)

    def _check_failures(self, failures: list[tuple[str, str]]) -> None:
        for key, text in failures:
            if int(key.rpartition("/")[2]) != self._process:
                message, hung = json.loads(text)
                if hung:
                    self.on_hang()
                self._end(message)

    def _check_beats(
        self, beats: list[tuple[str, str]], last_change: dict[str, tuple[str, float]]
    ) -> None:
        now = time.monotonic()
        for key, beat in beats:
            if key not in last_change or last_change[key][0] != beat:
                last_change[key] = beat, now
            elif now - last_change[key][1] > self._dead_after:
                name = self._names[int(key.rpartition("/")[2])]
                self._end(
                    f"lost {name}: it died, hangs or was disconnected "
                    f"(no heartbeat for {now - last_change[key][1]:.0f} s)"
                )

    def _lost_coordinator(self) -> str:
        return f"lost {self._names[0]}, the coordinator of the job: it died or was disconnected"

    def _end(self, message: str) -> NoReturn:
        end_process(message, linger=self._process == 0)


def do_nothing() -> None:
    """Handles a hang when no run is being trained."""


_handlers: list[Any] = []


def catch_abort(message: str) -> None:
    """Turns an abort of JAX's runtime, such as on a lost coordinator, into exit code 3.

    A Python signal handler cannot do this: it runs between bytecodes, and an abort never returns.
    """
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: end_process(message))
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(int(signal.SIGABRT), ctypes.cast(handler, ctypes.c_void_p))
    _handlers.append(handler)  # the C library keeps no reference of its own
