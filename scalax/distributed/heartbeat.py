"""Notices that another process of the job died or gave up, and ends this one with exit 3.

Each process counts up a key of its own in jax's key-value store, once a second, and says there how
far its training has come; one whose count stands still is dead. A process that fails leaves a
verdict there, which all others print. jax has heartbeats too, but answers a loss by aborting: that
abort is caught here, for its exit code.
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
DEAD_AFTER = 30.0
SUSPECT_AFTER = 8.0
"""Seconds without a beat: in quiet times, and once an exchange with the others has failed."""

_BEATS, _VERDICT = "scalax/beat/", "scalax/verdict/"
_said = threading.Lock()


def end(line: str, code: int = 3, *, linger: bool = False) -> NoReturn:
    """Ends this process now, with one line on standard error; only the first caller speaks.

    jax's own way out waits for the processes that are no more.

    Args:
        line: What happened.
        code: The exit code.
        linger: Whether to stay a little, on process 0: the store goes with it, and the others
            read there why they end.
    """
    if _said.acquire(blocking=False):
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, f"scalax: {line}\n".encode())
        if linger:
            time.sleep(3 * SECONDS)
        os._exit(code)
    while True:  # another thread is at it
        time.sleep(1)


class Heartbeat:
    """This process's beats and its eye on those of the others.

    Args:
        client: jax's client of the key-value store.
        process: This process.
        names: What to call each process, such as ``process 1 on host-b``.
    """

    def __init__(self, client: Any, process: int, names: list[str]) -> None:
        self._client, self._process, self._names = client, process, names
        self._patience = DEAD_AFTER
        self.progress = 0
        self.on_hang: Callable[[], object] = nothing
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        catch_abort(f"lost {self._names[0]}, which the others met through: it died or was cut off")
        self._thread.start()

    def stop(self) -> None:
        """Ends the beats; only once every process has come this far."""
        self._over.set()
        self._thread.join()
        self._client.key_value_delete(f"{_BEATS}{self._process}")

    def suspect(self) -> None:
        """Waits long enough to learn who failed, if any did: the process then ends in here."""
        self._patience = SUSPECT_AFTER
        time.sleep(SUSPECT_AFTER + 3 * SECONDS)

    def condemn(self, why: str) -> None:
        """Tells the others that this process is to blame, and gives them time to read it."""
        self._say(f"{self._names[self._process]} ended the job: {why}")

    def hang(self, why: str) -> NoReturn:
        """Ends the job because it stands still, naming those that are behind all others."""
        beats = self._client.key_value_dir_get(_BEATS)
        come = {int(key.rpartition("/")[2]): int(beat.split()[1]) for key, beat in beats}
        come[self._process] = self.progress
        last = [self._names[k] for k in sorted(come) if come[k] == min(come.values())]
        if len(last) == len(come):
            line = f"every process waits: {why}"
        else:
            line = f"{', '.join(last)} hangs, and the others wait: {why}"
        self._say(line, hung=True)
        self._leave(line)

    def _say(self, line: str, *, hung: bool = False) -> None:
        self._client.key_value_set(
            f"{_VERDICT}{self._process}", json.dumps([line, hung]), allow_overwrite=True
        )

    def _run(self) -> None:
        count = 0
        seen: dict[str, tuple[str, float]] = {}
        while not self._over.wait(SECONDS):
            count += 1
            try:
                self._client.key_value_set(
                    f"{_BEATS}{self._process}", f"{count} {self.progress}", allow_overwrite=True
                )
                verdicts = self._client.key_value_dir_get(_VERDICT)
                beats = self._client.key_value_dir_get(_BEATS)
            except Exception:  # whatever the client raises: the store can no longer be reached
                if self._over.is_set():
                    return
                end(f"lost {self._names[0]}, which the others met through: it died or was cut off")
            for key, text in verdicts:
                if int(key.rpartition("/")[2]) != self._process:
                    line, hung = json.loads(text)
                    if hung:
                        self.on_hang()
                    self._leave(line)
            now = time.monotonic()
            for key, beat in beats:
                if key not in seen or seen[key][0] != beat:
                    seen[key] = beat, now
                elif now - seen[key][1] > self._patience:
                    name = self._names[int(key.rpartition("/")[2])]
                    self._leave(
                        f"lost {name}: it died, hangs or was cut off "
                        f"(no sign of it for {now - seen[key][1]:.0f} s)"
                    )

    def _leave(self, line: str) -> NoReturn:
        end(line, linger=self._process == 0)


def nothing() -> None:
    """What is done about a hang where no run is being trained."""


_handlers: list[Any] = []


def catch_abort(line: str) -> None:
    """Turns an abort of jax's runtime, as on losing its coordinator, into exit 3 and a line.

    Python's own handlers cannot: they run between bytecodes, and an abort never returns.
    """
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: end(line))
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(int(signal.SIGABRT), ctypes.cast(handler, ctypes.c_void_p))
    _handlers.append(handler)  # alive as long as the process
