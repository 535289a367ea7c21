"""Fetches metrics from the devices and passes them to the loggers and the progress bar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from scalax.train.job import Job
from scalax.train.records import StepMetrics


class MetricsReporter:
    """Reports the metrics of a job one step late, so that fetching them never delays the device.

    Args:
        job: The job.
        done: Steps completed before.
    """

    def __init__(self, job: Job, done: int) -> None:
        self._job = job
        self._loggers = [job.open_loggers(member, done) for member in job.members]
        self._name = job.members[0].folder.name
        self._divergence_limit = 2 * math.log(max(2, job.data.spec.classes))
        self._pending: tuple[int, Mapping[str, jax.Array]] | None = None

    def __enter__(self) -> MetricsReporter:
        return self

    def __exit__(self, *_: object) -> None:
        for loggers in self._loggers:
            for logger in loggers:
                logger.close()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Stores the metrics of a step, still on the devices, until the next `report`."""
        self._pending = step, metrics

    def report(self) -> None:
        """Fetches and reports the pending metrics.

        Raises:
            Diverged: The loss is not finite or too large, and no other member is left.
        """
        if self._pending is None:
            return
        (step, pending), self._pending = self._pending, None
        job, timing = self._job, self._job.meter.timing()
        arrays = {name: np.atleast_1d(value) for name, value in jax.device_get(pending).items()}
        reported = []
        for k, member in enumerate(job.members):
            if not member.finished:
                values = {name: float(array[k]) for name, array in arrays.items()}
                metrics = StepMetrics(step, step * job.spec.units_per_step, values, timing)
                reported.append((member, metrics))
                for logger in self._loggers[k]:
                    logger.log_step(metrics)
        if job.hosts.first:
            self._show([metrics for _, metrics in reported])
        for member, metrics in reported:
            loss = metrics.values["loss"]
            if not loss < self._divergence_limit:  # also true if the loss is NaN
                job.mark_diverged(member, f"loss {loss:g} at step {step}")

    def report_eval(self, step: int, metrics: Sequence[Mapping[str, float]]) -> None:
        """Reports the held-out metrics of each member at a step."""
        units = step * self._job.spec.units_per_step
        for member, loggers, values in zip(self._job.members, self._loggers, metrics, strict=True):
            if not member.finished:
                for logger in loggers:
                    logger.log_eval(step, units, values)

    def flush(self) -> None:
        """Reports the pending metrics and flushes all loggers; raises as `report`."""
        self.report()
        for loggers in self._loggers:
            for logger in loggers:
                logger.flush()

    def _show(self, metrics: Sequence[StepMetrics]) -> None:
        """Updates the progress bar: mean loss of the members, joint speed."""
        loss = sum(m.values["loss"] for m in metrics) / len(metrics)
        speed = len(self._job.members) * metrics[0].timing.units_per_second
        self._job.progress.update(self._name, metrics[0].step, loss, speed)
