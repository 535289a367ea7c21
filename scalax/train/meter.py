"""Measures where the wall time of a session goes. A session is one process's work on one run.

Each line of timing.jsonl holds the totals of its session so far, so that a killed session keeps its
measurements. Measuring never changes what is trained.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import jax
import psutil

from scalax.train.compile_time import COMPILE_TIME

Activity = Literal["compile", "input", "checkpoint", "evaluate"]
"""Activities that take time from training."""


@dataclass(frozen=True)
class SessionTiming:
    """Totals of one session so far: one line of timing.jsonl.

    Attributes:
        step: Steps completed by all sessions of the run.
        unix: Time of this record, seconds since 1970.
        session: Start of the session, seconds since 1970.
        steps: Steps of this session.
        units: Tokens (or examples) of this session.
        flops: Model FLOPs of this session.
        seconds: Wall time.
        compile_seconds: Wall time of tracing and compiling.
        input_seconds: Wall time spent waiting for batches.
        checkpoint_seconds: Wall time for which checkpoints blocked training.
        evaluate_seconds: Wall time of evaluations.
        units_per_second: Speed outside compilation and evaluation.
        memory_bytes: Highest memory use.
        device: Kind of the devices.
        devices: Number of devices.
        precision: ``f32`` or ``bf16``.
        ensemble: Number of runs trained together. Units and FLOPs are those of one run, seconds
            those of all.
    """

    step: int
    unix: float
    session: float
    steps: int
    units: int
    flops: float
    seconds: float
    compile_seconds: float
    input_seconds: float
    checkpoint_seconds: float
    evaluate_seconds: float
    units_per_second: float
    memory_bytes: int
    device: str
    devices: int
    precision: str
    ensemble: int = 1

    @property
    def training_seconds(self) -> float:
        """Wall time outside compilation and evaluation; at least 1 ns."""
        return _training_seconds(self.seconds, self.compile_seconds, self.evaluate_seconds)

    def to_json(self) -> dict[str, Any]:
        """Returns a line of timing.jsonl."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> SessionTiming:
        """Reads a line of timing.jsonl."""
        return cls(**{field.name: line[field.name] for field in fields(cls) if field.name in line})


class Meter:
    """The clock of one session.

    Args:
        units_per_step: Tokens (or examples) in a batch.
        flops_per_step: Model FLOPs of a step.
        precision: ``f32`` or ``bf16``.
        devices: Devices that the run trains on.
        ensemble: Number of runs trained together; units and FLOPs are those of one.
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
        self._lost: dict[Activity, float] = {
            "compile": 0.0,
            "input": 0.0,
            "checkpoint": 0.0,
            "evaluate": 0.0,
        }
        self._steps = self._done = 0
        self._seconds = 0.0
        self._started: float | None = None
        self._session = time.time()
        self._memory = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside, and compilation just before it, such as of the initial state."""
        before = COMPILE_TIME.take()
        self._lost["compile"] += before
        self._seconds += before
        self._started = time.monotonic()
        try:
            yield
        finally:
            self._seconds, self._started = self._elapsed(), None

    @contextmanager
    def spent(self, activity: Activity) -> Iterator[None]:
        """Counts the time inside as lost to an activity, except for compilation inside."""
        compiled, started = COMPILE_TIME.seconds, time.monotonic()
        try:
            yield
        finally:
            compiling = COMPILE_TIME.seconds - compiled
            self._lost[activity] += max(0.0, time.monotonic() - started - compiling)

    def step(self, done: int) -> None:
        """Counts a step.

        Args:
            done: Steps completed by all sessions, this step included.
        """
        self._steps += 1
        self._done = done

    def timing(self) -> SessionTiming:
        """Returns the totals so far."""
        self._lost["compile"] += COMPILE_TIME.take()
        self._memory = max(self._memory, memory_bytes(self._devices))
        seconds, lost = self._elapsed(), self._lost
        training = _training_seconds(seconds, lost["compile"], lost["evaluate"])
        return SessionTiming(
            step=self._done,
            unix=time.time(),
            session=self._session,
            steps=self._steps,
            units=self._steps * self._units,
            flops=self._steps * self._flops,
            seconds=seconds,
            compile_seconds=lost["compile"],
            input_seconds=lost["input"],
            checkpoint_seconds=lost["checkpoint"],
            evaluate_seconds=lost["evaluate"],
            units_per_second=self._steps * self._units / training,
            memory_bytes=self._memory,
            device=self._devices[0].device_kind,
            devices=len(self._devices),
            precision=self._precision,
            ensemble=self._ensemble,
        )

    def _elapsed(self) -> float:
        return self._seconds + (time.monotonic() - self._started if self._started else 0.0)


def memory_bytes(devices: Sequence[Any]) -> int:
    """Returns the peak bytes in use on any local device; on CPU, the process's resident size."""
    local = [device for device in devices if device.process_index == jax.process_index()]
    stats = [device.memory_stats() or {} for device in local]
    peak = max((s.get("peak_bytes_in_use", 0) for s in stats), default=0)
    return int(peak or psutil.Process().memory_info().rss)


def _training_seconds(seconds: float, compile_seconds: float, evaluate_seconds: float) -> float:
    return max(seconds - compile_seconds - evaluate_seconds, 1e-9)
