"""Where the wall time of a run goes, and what speed it came to; timing.jsonl and performance.json.

A session is one process's work on one run. Each line of timing.jsonl holds its session's sums so
far, so that a killed session keeps what it measured. Nothing here changes what is trained.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import psutil

from scalax.hardware.chips import known_device

PARTS = ("compile", "input", "checkpoint", "evaluate")


class Meter:
    """The clock of one session.

    Args:
        units_per_step: Tokens (or examples) in a batch.
        flops_per_step: Model FLOPs of a step.
        precision: ``f32`` or ``bf16``.
        devices: The devices it trains on.
        ensemble: Runs trained together; units and FLOPs are those of one.
    """

    def __init__(
        self,
        units_per_step: int,
        flops_per_step: float,
        precision: str,
        devices: Sequence[Any],
        ensemble: int = 1,
    ) -> None:
        self._units, self._flops, self._ensemble = units_per_step, flops_per_step, ensemble
        self._precision, self._devices = precision, devices
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._steps = self._done = 0
        self._seconds = 0.0
        self._began: float | None = None
        self._session = time.time()
        self._memory = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside; compiling just before, to create the state, is counted too."""
        before = COMPILED.take()
        self._spent["compile"] += before
        self._seconds += before
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._seconds, self._began = self._elapsed(), None

    @contextmanager
    def spent(self, part: str) -> Iterator[None]:
        """Counts the time inside as lost to one of `PARTS`; what it compiles counts as that."""
        compiled, began = COMPILED.seconds, time.monotonic()
        try:
            yield
        finally:
            inside = COMPILED.seconds - compiled
            self._spent[part] += max(0.0, time.monotonic() - began - inside)

    def step(self, done: int) -> None:
        """Counts a step; ``done`` are those of earlier sessions with it."""
        self._steps += 1
        self._done = done

    def timing(self) -> dict[str, Any]:
        """A line of timing.jsonl.

        Returns:
            ``step`` (done in all), ``unix``, and the session's sums: ``session`` (when it began),
            ``steps``, ``units``, ``flops``, ``seconds``, and what of them went to each of
            `PARTS`: ``compile_seconds``, ``input_seconds`` (waiting for a batch),
            ``checkpoint_seconds`` (training held up) and ``evaluate_seconds``;
            ``units_per_second`` outside compiling and evaluating; ``memory_bytes``, the highest
            so far; ``device``, ``devices`` and ``precision``; ``ensemble``, runs trained together,
            of which the units and FLOPs are one's, and the seconds all's.
        """
        self._spent["compile"] += COMPILED.take()
        self._memory = max(self._memory, memory_bytes(self._devices))
        seconds = self._elapsed()
        training = _training(seconds, self._spent)
        return {
            "step": self._done,
            "unix": time.time(),
            "session": self._session,
            "steps": self._steps,
            "units": self._steps * self._units,
            "flops": self._steps * self._flops,
            "seconds": seconds,
            **{f"{part}_seconds": self._spent[part] for part in PARTS},
            "units_per_second": self._steps * self._units / training,
            "memory_bytes": self._memory,
            "device": self._devices[0].device_kind,
            "devices": len(self._devices),
            "precision": self._precision,
            "ensemble": self._ensemble,
        }

    def _elapsed(self) -> float:
        return self._seconds + (time.monotonic() - self._began if self._began else 0.0)


def summarise(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What performance.json holds: all sessions of a run added up.

    Args:
        lines: Of timing.jsonl.

    Returns:
        ``sessions``, ``steps`` (those trained again after a kill counted again), ``seconds`` and
        what of them was lost to each of `PARTS`, ``units_per_second``, ``flops_per_second``,
        ``utilisation`` (null where a device's peak is unknown) with ``peak_flops_per_second`` of
        all devices and ``peak_source``, ``memory_bytes`` and ``memory_source``, ``device``,
        ``devices``, ``ensemble``. Speeds are outside compiling and evaluating, and one run's: those
        of the devices are ``ensemble`` times as high.
    """
    sessions = [
        list(group)[-1] for _, group in itertools.groupby(lines, key=lambda line: line["session"])
    ]
    total = {name: sum(s[name] for s in sessions) for name in ("steps", "units", "flops")}
    spent = {f"{part}_seconds": sum(s[f"{part}_seconds"] for s in sessions) for part in PARTS}
    trained = [_training(s["seconds"], {p: s[f"{p}_seconds"] for p in PARTS}) for s in sessions]
    peaks = [peak(s["device"], s["devices"], s["precision"])[0] for s in sessions]
    possible = sum(rate * t for rate, t in zip(peaks, trained, strict=True) if rate)
    last = sessions[-1]
    rate, source = peak(last["device"], last["devices"], last["precision"])
    return {
        "sessions": len(sessions),
        "steps": total["steps"],
        "seconds": sum(s["seconds"] for s in sessions),
        **spent,
        "units_per_second": total["units"] / sum(trained),
        "flops_per_second": total["flops"] / sum(trained),
        "utilisation": total["flops"] / possible if all(peaks) else None,
        "peak_flops_per_second": rate,
        "peak_source": source,
        "memory_bytes": max(s["memory_bytes"] for s in sessions),
        "memory_source": "process, resident" if last["device"] == "cpu" else "device, peak",
        "device": last["device"],
        "devices": last["devices"],
        "precision": last["precision"],
        "ensemble": last.get("ensemble", 1),
    }


@functools.lru_cache
def peak(device: str, devices: int, precision: str) -> tuple[float | None, str]:
    """FLOP/s that the devices could reach together, and where the figure comes from.

    On CPU it is measured, in float32 over all cores, whatever devices were made of them.
    """
    if device == "cpu":
        return _processor_rate(), "float32 matrix products measured on this host's processor"
    chip = known_device(device)
    rate = None if chip is None else chip.device_peak(precision)
    if chip is None or rate is None:
        return None, f"unknown: no figure for {devices} x {device} in {precision}"
    return rate * devices, f"the dense {precision} peak of {devices} x {chip.title} by its maker"


def _processor_rate() -> float:
    """FLOP/s of XLA's own float32 products, the fastest of some; NumPy's library may be slower."""
    side = 1024
    matrix = jax.device_put(np.ones((side, side), np.float32), jax.local_devices(backend="cpu")[0])
    product, seconds = jax.jit(jax.numpy.matmul), []
    for _ in range(20):
        began = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def memory_bytes(devices: Sequence[Any]) -> int:
    """The most bytes in use on any device so far; on CPU, this process's resident size now."""
    local = [device for device in devices if device.process_index == jax.process_index()]
    stats = [device.memory_stats() or {} for device in local]
    found = max((s.get("peak_bytes_in_use", 0) for s in stats), default=0)
    return int(found or psutil.Process().memory_info().rss)


class _Compiled(threading.local):
    """Seconds that jax spent tracing, lowering and compiling in this thread.

    jax reports each stage when it ends, in the thread that asked for it, and a stage may hold
    another (a jitted function traced inside one): only the outermost counts.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._taken = 0.0
        self._last: list[tuple[float, float]] = []

    def listen(self) -> _Compiled:
        """Begins to count, in every thread."""
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        return self

    def take(self) -> float:
        """Seconds since the last call."""
        new, self._taken = self.seconds - self._taken, self.seconds
        return new

    def _hear(self, event: str, duration_secs: float, **_: Any) -> None:
        if not event.startswith("/jax/core/compile/"):
            return
        start = time.monotonic() - duration_secs
        while self._last and self._last[-1][0] >= start:
            self.seconds -= self._last.pop()[1]
        self._last.append((start, duration_secs))
        self.seconds += duration_secs
        del self._last[:-10_000]


COMPILED = _Compiled().listen()


def _training(seconds: float, spent: Mapping[str, float]) -> float:
    return max(seconds - spent["compile"] - spent["evaluate"], 1e-9)
