"""How a sweep goes, told to a person: two bars on a terminal, a line a run elsewhere, or nothing.

Everything goes to standard error. It reads the clock, and nothing it shows is ever stored.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from scalax.sweep.expand import Plan, RunPlan
from scalax.sweep.format_plan import plan_summary


class Reporter(Protocol):
    """Who is told how a sweep goes: its beginning, its runs, from any thread, and its end."""

    def start(self, plan: Plan) -> None:
        """The sweep begins, or goes on."""

    def note(self, text: str) -> None:
        """Something was decided."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """A run, a trunk or an ensemble starts or goes on."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Some steps were done."""

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """A run ended."""

    def finish(self, outcome: dict[str, Any]) -> None:
        """The sweep ended."""


class Quiet:
    """Says nothing."""

    def start(self, plan: Plan) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """Nothing."""

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Nothing."""

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """Nothing."""

    def finish(self, outcome: dict[str, Any]) -> None:
        """Nothing."""


class Lines(Quiet):
    """A line for each run that ends: for logs."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._began = time.monotonic()
        self._ended = self._total = 0
        self._unit = "tokens"

    def start(self, plan: Plan) -> None:
        """Says what there is to do."""
        self._console.print(plan_summary(plan))
        self._total, self._unit = len(plan.runs), plan.data.unit

    def note(self, text: str) -> None:
        """Says it."""
        self._console.print(text)

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """Says what the run measured."""
        self._ended += 1
        loss = result["metrics"].get("loss")
        told = f"loss {loss:.4f}" if loss is not None else f"diverged: {result['why']}"
        seconds = time.monotonic() - self._began
        self._console.print(
            f"{seconds:7.1f} s  {self._ended}/{self._total}  {run.name}: "
            f"{run.counts.params:,} params, {run.spec.units:,} {self._unit}, {told}"
        )


class Bars(Lines):
    """The sweep's bar, by its compute, and one for each run under way: speed, loss, time left."""

    def __init__(self) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bars = Progress(*columns, console=self._console, transient=True)
        self._sweep = TaskID(0)
        self._runs: dict[str, _Bar] = {}

    def start(self, plan: Plan) -> None:
        """Draws the sweep's bar."""
        super().start(plan)
        total = sum(run.flops_spent for run in plan.runs)
        self._sweep = self._bars.add_task("sweep", total=total, said="")
        self._bars.start()

    def begin(self, name: str, done: int, steps: int, flops_per_step: float) -> None:
        """Draws the run's bar in place of the last one of its thread."""
        thread = threading.get_ident()
        for other in [n for n, bar in self._runs.items() if bar.thread == thread]:
            self._bars.remove_task(self._runs.pop(other).task)
        task = self._bars.add_task(name, total=steps, completed=done, said="")
        self._runs[name] = _Bar(task, thread, flops_per_step, done)

    def update(self, name: str, step: int, loss: float, units_per_second: float) -> None:
        """Moves both bars."""
        bar = self._runs[name]
        said = f"{units_per_second:,.0f} {self._unit}/s  loss {loss:.3f}"
        self._bars.update(bar.task, completed=step, said=said)
        self._bars.advance(self._sweep, (step - bar.step) * bar.flops_per_step)
        bar.step = step

    def end(self, run: RunPlan, result: dict[str, Any]) -> None:
        """Says what the run measured, above the bars."""
        super().end(run, result)
        self._bars.update(self._sweep, said=f"{self._ended} of {self._total} runs")

    def finish(self, outcome: dict[str, Any]) -> None:
        """Takes the bars away."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back."""
        self._bars.stop()


@dataclass
class _Bar:
    task: TaskID
    thread: int
    flops_per_step: float
    step: int
