"""Draws the figures of a sweep as PNG: loss curves, loss by compute, and the tested forecast.

The data comes from the outcome and from the metrics files in the sweep's folder.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.files import write_bytes
from scalax.predict.fit_result import Fit
from scalax.report.outcome import Outcome
from scalax.runs.schema import RunRow

_INK, _FAINT, _ACCENT = "#1a1a1a", "#b8b8b8", "#c2410c"
_SMOOTHING = 0.1
"""Weight of the newest value in the moving average of the training loss."""


def draw_all(outcome: Outcome) -> list[Path]:
    """Draws the figures for which there are results, in the sweep's folder ``figures``.

    Args:
        outcome: The outcome of the sweep.

    Returns:
        Paths of the figures.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    done = [run for run in outcome.runs if run.status == "done"]
    folder = outcome.out / "figures"
    files = []
    if done:
        files.append(_loss_curves(folder / "loss_curves.png", outcome, done))
    if done and outcome.fit is not None:
        files.append(_loss_by_compute(folder / "loss_vs_compute.png", outcome, outcome.fit, done))
    if any(check.predicted and check.measured for check in outcome.check):
        files.append(_forecasts(folder / "forecast.png", outcome, done))
    return files


def _loss_curves(file: Path, outcome: Outcome, runs: list[RunRow]) -> Path:
    """Draws the smoothed training loss of each run, and its held-out loss where it was scored."""
    figure, axes = _axes("", outcome.unit, "loss")
    colours = _colours([run.params for run in runs])
    labelled: set[float] = set()
    scored = False
    for run in runs:
        lines = _metric_lines(outcome.out, run, "metrics.jsonl")
        if not lines:
            continue
        colour = colours[run.params]
        label = None if run.params in labelled else f"{run.params:,} params"
        labelled.add(run.params)
        losses = _smooth([line["loss"] for line in lines])
        tokens = [line["tokens"] for line in lines]
        axes.plot(tokens, losses, color=colour, linewidth=1, label=label)
        axes.plot(tokens[-1], losses[-1], "o", color=colour, markersize=3)
        scores = _metric_lines(outcome.out, run, "eval.jsonl")
        if len(scores) > 1:  # train.eval_every was set
            scored = True
            tokens, held_out = ([line[key] for line in scores] for key in ("tokens", "loss"))
            axes.plot(tokens, held_out, color=colour, linewidth=1, linestyle="--")
    title = "Training loss of each run, smoothed" + " (dashed: held-out loss)" * scored
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, file)


def _loss_by_compute(file: Path, outcome: Outcome, fit: Fit, runs: list[RunRow]) -> Path:
    """Draws the measured runs, the law at each size, and its compute-optimal frontier."""
    figure, axes = _axes(
        "Measured runs, the fitted law and its compute-optimal frontier",
        "training compute (FLOPs)",
        f"held-out {outcome.metric}",
    )
    fitted = [run for run in runs if run.role == "fit"]
    for params, colour in _colours([run.params for run in fitted]).items():
        rows = [run.to_dict() for run in fitted if run.params == params]
        rows.sort(key=lambda row: float(row["tokens"]))
        axes.plot(
            [row["flops"] for row in rows],
            [row[outcome.metric] for row in rows],
            "o",
            color=colour,
            markersize=5,
            label=f"{params:,} params",
        )
        tokens = np.geomspace(rows[0]["tokens"], rows[-1]["tokens"], 50)
        columns = {
            name: np.interp(tokens, [row["tokens"] for row in rows], [row[name] for row in rows])
            for name in {*fit.form.columns, "flops"} - {"params", "tokens"}
            if name in rows[0]
        }
        curve = fit.predict(params=np.full_like(tokens, params), tokens=tokens, **columns)
        axes.plot(columns["flops"], [point.loss for point in curve], color=colour, linewidth=1)
    for check in outcome.check:
        if check.measured:
            axes.plot(check.flops, check.measured, "*", color=_ACCENT, markersize=12)
    budgets = [run.flops for run in runs] + [check.flops for check in outcome.check]
    _plot_frontier(axes, fit, min(budgets), 3 * max(budgets))
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, file)


def _plot_frontier(axes: Any, fit: Fit, least: float, greatest: float) -> None:
    """Plots the least loss at each budget [FLOPs]; nothing for a law that splits no budget."""
    budgets = np.geomspace(least, greatest, 60)
    try:
        losses = [fit.allocate(float(flops)).loss for flops in budgets]
    except ScalaxError:
        return
    axes.plot(budgets, losses, "--", color=_INK, linewidth=1.2, label="frontier")


def _forecasts(file: Path, outcome: Outcome, runs: list[RunRow]) -> Path:
    """Draws the measured metric of each run against the law's forecast."""
    metric, fit = outcome.metric, outcome.fit
    figure, axes = _axes(
        "Forecast against measured: fitted runs and check runs",
        f"forecast {metric}",
        f"measured {metric}",
    )
    forecasts: list[float] = []
    measured: list[float] = []
    if fit is not None:
        fitted = [run for run in runs if run.role == "fit"]
        forecasts = [_forecast_at(fit, run) for run in fitted]
        measured = [run.metrics[metric] for run in fitted]
        axes.plot(forecasts, measured, "o", color=_FAINT, markersize=5, label="fitted")
    label: str | None = "check, with its interval"
    for check in outcome.check:
        if not check.predicted or not check.measured:
            continue
        error = None
        if check.low is not None and check.high is not None:
            error = [[check.predicted - check.low], [check.high - check.predicted]]
        axes.errorbar(
            check.predicted,
            check.measured,
            xerr=error,
            fmt="*",
            color=_ACCENT,
            markersize=12,
            capsize=3,
            label=label,
        )
        label = None  # one entry in the legend
        forecasts.append(check.predicted)
        measured.append(check.measured)
    values = [*forecasts, *measured]
    diagonal = [min(values) * 0.98, max(values) * 1.02]
    axes.plot(diagonal, diagonal, color=_INK, linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, file)


def _forecast_at(fit: Fit, run: RunRow) -> float:
    """Returns the law's value at a run."""
    row = run.to_dict()
    columns = {name: row[name] for name in fit.form.columns if name in row}
    forecast = fit.predict(**{"params": run.params, "tokens": run.tokens, **columns})
    return float(forecast.loss)


def _metric_lines(folder: Path, run: RunRow, file: str) -> list[dict[str, Any]]:
    """Returns the lines of a run's file, after those of its trunk up to the branch."""
    lines: list[dict[str, Any]] = []
    for name in (run.trunk, run.name):
        path = folder / "runs" / str(name) / file
        if name and path.is_file():
            own = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            first = own[0]["step"] if own else 0
            lines = [line for line in lines if line["step"] < first] + own
    return [line for line in lines if line["loss"] is not None]


def _smooth(values: list[float]) -> list[float]:
    """Returns the exponential moving average with the bias correction of Adam's moments."""
    average, weight, result = 0.0, 0.0, []
    for value in values:
        average += _SMOOTHING * (value - average)
        weight += _SMOOTHING * (1 - weight)
        result.append(average / weight)
    return result


def _axes(title: str, xlabel: str, ylabel: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colours(params: Sequence[float]) -> dict[float, Any]:
    """Returns a colour for each size."""
    import matplotlib as mpl

    sizes = sorted(set(params))
    ramp = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(sizes)))
    return dict(zip(sizes, ramp, strict=True))


def _save(figure: Any, file: Path) -> Path:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_bytes(file, stream.getvalue())
    return file
