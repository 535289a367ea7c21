"""Summarises the sessions of a run in performance.json: speed, lost time, memory, utilisation."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from scalax.hardware.chips import known_device
from scalax.train.meter import SessionTiming


@dataclass(frozen=True)
class Performance:
    """Totals over all sessions of a run. Steps repeated after a kill count again.

    Speeds exclude compilation and evaluation and are those of one run; in an ensemble the devices
    are ``ensemble`` times as fast.

    Attributes:
        sessions: Number of sessions.
        steps: Steps.
        seconds: Wall time.
        compile_seconds: Wall time of tracing and compiling.
        input_seconds: Wall time spent waiting for batches.
        checkpoint_seconds: Wall time for which checkpoints blocked training.
        evaluate_seconds: Wall time of evaluations.
        units_per_second: Tokens (or examples) per second.
        flops_per_second: Model FLOP/s.
        utilisation: Model FLOP/s over the peak; None if a device's peak is unknown.
        peak_flops_per_second: Peak FLOP/s of all devices of the last session; None if unknown.
        peak_source: Source of the peak.
        memory_bytes: Highest memory use.
        memory_source: What the memory use is measured on.
        device: Kind of the devices of the last session.
        devices: Number of devices.
        precision: ``f32`` or ``bf16``.
        ensemble: Number of runs trained together.
    """

    sessions: int
    steps: int
    seconds: float
    compile_seconds: float
    input_seconds: float
    checkpoint_seconds: float
    evaluate_seconds: float
    units_per_second: float
    flops_per_second: float
    utilisation: float | None
    peak_flops_per_second: float | None
    peak_source: str
    memory_bytes: int
    memory_source: str
    device: str
    devices: int
    precision: str
    ensemble: int

    def to_json(self) -> dict[str, Any]:
        """Returns the content of performance.json."""
        return asdict(self)


def summarize(timings: Sequence[SessionTiming]) -> Performance:
    """Sums up the sessions of a run.

    Args:
        timings: The lines of timing.jsonl; the last line of each session counts.
    """
    by_session = itertools.groupby(timings, key=lambda timing: timing.session)
    sessions = [list(lines)[-1] for _, lines in by_session]
    training_seconds = sum(s.training_seconds for s in sessions)
    flops = sum(s.flops for s in sessions)
    peaks = [peak_flops_per_second(s.device, s.devices, s.precision)[0] for s in sessions]
    possible_flops = sum(
        peak * s.training_seconds for peak, s in zip(peaks, sessions, strict=True) if peak
    )
    last = sessions[-1]
    peak, source = peak_flops_per_second(last.device, last.devices, last.precision)
    return Performance(
        sessions=len(sessions),
        steps=sum(s.steps for s in sessions),
        seconds=sum(s.seconds for s in sessions),
        compile_seconds=sum(s.compile_seconds for s in sessions),
        input_seconds=sum(s.input_seconds for s in sessions),
        checkpoint_seconds=sum(s.checkpoint_seconds for s in sessions),
        evaluate_seconds=sum(s.evaluate_seconds for s in sessions),
        units_per_second=sum(s.units for s in sessions) / training_seconds,
        flops_per_second=flops / training_seconds,
        utilisation=flops / possible_flops if all(peaks) else None,
        peak_flops_per_second=peak,
        peak_source=source,
        memory_bytes=max(s.memory_bytes for s in sessions),
        memory_source="process, resident" if last.device == "cpu" else "device, peak",
        device=last.device,
        devices=last.devices,
        precision=last.precision,
        ensemble=last.ensemble,
    )


@functools.lru_cache
def peak_flops_per_second(device: str, devices: int, precision: str) -> tuple[float | None, str]:
    """Returns the peak FLOP/s of all devices together (None if unknown), and its source.

    On CPU the peak is measured, in float32 over all cores, for any number of devices.
    """
    if device == "cpu":
        return _measure_cpu_peak(), "float32 matrix products measured on this host's processor"
    chip = known_device(device)
    rate = None if chip is None else chip.device_peak(precision)
    if chip is None or rate is None:
        return None, f"unknown: no figure for {devices} x {device} in {precision}"
    return rate * devices, f"the dense {precision} peak of {devices} x {chip.title} by its maker"


def _measure_cpu_peak() -> float:
    """Returns the FLOP/s of the fastest of several matrix products by XLA, in float32."""
    side = 1024
    matrix = jax.device_put(np.ones((side, side), np.float32), jax.local_devices(backend="cpu")[0])
    product, seconds = jax.jit(jax.numpy.matmul), []
    for _ in range(20):
        started = time.perf_counter()
        product(matrix, matrix).block_until_ready()
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)
