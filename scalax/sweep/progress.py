"""Shows the progress of a sweep: bars on a terminal, one line per run in a log, or nothing.

All output goes to standard error. Nothing is stored.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from scalax.report.outcome import Outcome
from scalax.runs.schema import RunResult
from scalax.sweep.format_plan import plan_summary
from scalax.sweep.plan import Plan, Run


class Reporter(Protocol):
    """Receives the progress of a sweep; runs report from any thread."""

    def start(self, plan: Plan) -> None:
        """Handles the start of the sweep, new or resumed."""

    def note(self, text: str) -> None:
        """Shows a message to the user."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """Handles the start of a run, a trunk or an ensemble, new or resumed."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Handles the metrics of a logged step."""

    def end(self, run: Run, result: RunResult) -> None:
        """Handles the end of a run."""

    def finish(self, outcome: Outcome) -> None:
        """Handles the end of the sweep."""


class Quiet:
    """Shows nothing."""

    def start(self, plan: Plan) -> None:
        """Does nothing."""

    def note(self, text: str) -> None:
        """Does nothing."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """Does nothing."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Does nothing."""

    def end(self, run: Run, result: RunResult) -> None:
        """Does nothing."""

    def finish(self, outcome: Outcome) -> None:
        """Does nothing."""


class Lines(Quiet):
    """Prints a line for each run that ends; for logs."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._began = time.monotonic()
        self._ended = self._total = 0
        self._unit = "tokens"

    def start(self, plan: Plan) -> None:
        """Prints a summary of the plan."""
        self._console.print(plan_summary(plan))
        self._total, self._unit = len(plan.runs), plan.data.unit

    def note(self, text: str) -> None:
        """Prints the text."""
        self._console.print(text)

    def end(self, run: Run, result: RunResult) -> None:
        """Prints the result of the run."""
        self._ended += 1
        loss = result.metrics.get("loss")
        text = f"loss {loss:.4f}" if loss is not None else f"diverged: {result.reason}"
        seconds = time.monotonic() - self._began
        self._console.print(
            f"{seconds:7.1f} s  {self._ended}/{self._total}  {run.name}: "
            f"{run.counts.params:,} params, {run.spec.units:,} {self._unit}, {text}"
        )


class Bars(Lines):
    """Shows a bar for the compute of the sweep, and one per run with speed, loss and time left."""

    def __init__(self) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._bars = Progress(*columns, console=self._console, transient=True)
        self._sweep = TaskID(0)
        self._runs: dict[str, _Bar] = {}

    def start(self, plan: Plan) -> None:
        """Draws the sweep's bar."""
        super().start(plan)
        total = sum(run.flops_spent for run in plan.runs)
        self._sweep = self._bars.add_task("sweep", total=total, text="")
        self._bars.start()

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """Draws the run's bar in place of the last one of its thread."""
        thread = threading.get_ident()
        for other in [n for n, bar in self._runs.items() if bar.thread == thread]:
            self._bars.remove_task(self._runs.pop(other).task)
        task = self._bars.add_task(name, total=steps, completed=done, text="")
        self._runs[name] = _Bar(task, thread, flops_per_step, done)

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Advances both bars."""
        bar = self._runs[name]
        text = f"{units_per_second:,.0f} {self._unit}/s  loss {loss:.3f}"
        self._bars.update(bar.task, completed=step, text=text)
        self._bars.advance(self._sweep, (step - bar.step) * bar.flops_per_step)
        bar.step = step

    def end(self, run: Run, result: RunResult) -> None:
        """Prints the result of the run above the bars."""
        super().end(run, result)
        self._bars.update(self._sweep, text=f"{self._ended} of {self._total} runs")

    def finish(self, outcome: Outcome) -> None:
        """Removes the bars."""
        self.close()

    def close(self) -> None:
        """Restores the terminal."""
        self._bars.stop()


@dataclass
class _Bar:
    task: TaskID
    thread: int
    flops_per_step: float
    step: int
