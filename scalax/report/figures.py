"""The figures of a sweep, as PNG: loss curves, loss against compute, forecast against measured.

They are drawn from the folder's files and a fit; nothing is computed here but what is drawn.
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

_INK, _FAINT, _ACCENT = "#1a1a1a", "#b8b8b8", "#c2410c"
_SMOOTH = 0.1


def draw_all(
    folder: Path, outcome: dict[str, Any], fit: Fit | None, unit: str, metric: str
) -> list[Path]:
    """Draws every figure that the results allow.

    Args:
        folder: The sweep's folder; figures go to its ``figures``.
        outcome: As `Outcome.to_json`.
        fit: The law fitted, if any.
        unit: What data is counted in.
        metric: What was fitted.

    Returns:
        The files drawn.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    done = [row for row in outcome["runs"] if row["status"] == "done"]
    place = folder / "figures"
    drawn = []
    if done:
        drawn.append(_curves(folder, place / "loss_curves.png", done, unit))
    if done and fit is not None:
        drawn.append(_frontier(place / "loss_vs_compute.png", outcome, done, fit, metric))
    if any(c["predicted"] and c["measured"] for c in outcome["check"]):
        drawn.append(_forecast(place / "forecast.png", outcome, done, fit, metric))
    return drawn


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


def _saved(figure: Any, file: Path) -> Path:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_bytes(file, drawn.getvalue())
    return file


def _colours(params: Sequence[float]) -> dict[float, Any]:
    import matplotlib as mpl

    sizes = sorted(set(params))
    ramp = mpl.colormaps["viridis"](np.linspace(0.05, 0.85, len(sizes)))
    return dict(zip(sizes, ramp, strict=True))


def _curves(folder: Path, file: Path, rows: list[dict[str, Any]], unit: str) -> Path:
    figure, axes = _axes("", unit, "loss")
    colour = _colours([row["params"] for row in rows])
    labelled: set[float] = set()
    scored = False
    for row in rows:
        points = _told(folder, row, "metrics.jsonl")
        if not points:
            continue
        params = row["params"]
        label = None if params in labelled else f"{params:,} params"
        labelled.add(params)
        losses = _smoothed([p["loss"] for p in points])
        tokens = [p["tokens"] for p in points]
        axes.plot(tokens, losses, color=colour[params], linewidth=1, label=label)
        axes.plot(tokens[-1], losses[-1], "o", color=colour[params], markersize=3)
        scores = _told(folder, row, "eval.jsonl")
        if len(scores) > 1:  # more than the one at the end: train.eval_every was set
            scored = True
            seen, held_out = ([p[key] for p in scores] for key in ("tokens", "loss"))
            axes.plot(seen, held_out, color=colour[params], linewidth=1, linestyle="--")
    title = "Training loss (smoothed), one curve a run" + "; dashed: held-out" * scored
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _saved(figure, file)


def _told(folder: Path, row: dict[str, Any], file: str) -> list[dict[str, Any]]:
    """The lines of a run's file, those of its trunk up to where it branches off first."""
    points: list[dict[str, Any]] = []
    for name in (row["trunk"], row["name"]):
        path = folder / "runs" / str(name) / file
        if name and path.is_file():
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            first = lines[0]["step"] if lines else 0
            points = [p for p in points if p["step"] < first] + lines
    return [p for p in points if p["loss"] is not None]


def _smoothed(values: list[float]) -> list[float]:
    """An exponential moving average, its start corrected as Adam corrects its moments."""
    average, weight, out = 0.0, 0.0, []
    for value in values:
        average += _SMOOTH * (value - average)
        weight += _SMOOTH * (1 - weight)
        out.append(average / weight)
    return out


def _frontier(
    file: Path, outcome: dict[str, Any], rows: list[dict[str, Any]], fit: Fit, metric: str
) -> Path:
    figure, axes = _axes(
        "Measured runs, the fitted law, and its compute-optimal frontier",
        "training compute (FLOPs)",
        f"held-out {metric}",
    )
    fitted = [row for row in rows if row["role"] == "fit"]
    colour = _colours([row["params"] for row in fitted])
    for params, tone in colour.items():
        mine = sorted((row for row in fitted if row["params"] == params), key=_tokens)
        axes.plot(
            [row["flops"] for row in mine],
            [row[metric] for row in mine],
            "o",
            color=tone,
            markersize=5,
            label=f"{params:,} params",
        )
        tokens = np.geomspace(mine[0]["tokens"], mine[-1]["tokens"], 50)
        between = {
            name: np.interp(tokens, [row["tokens"] for row in mine], [row[name] for row in mine])
            for name in {*fit.form.columns, "flops"} - {"params", "tokens"}
            if name in mine[0]
        }
        curve = fit.predict(params=np.full_like(tokens, params), tokens=tokens, **between)
        axes.plot(between["flops"], [at.loss for at in curve], color=tone, linewidth=1)
    for check in outcome["check"]:
        if check["measured"]:
            axes.plot(check["flops"], check["measured"], "*", color=_ACCENT, markersize=12)
    _draw_frontier(axes, fit, rows, outcome["check"])
    axes.set_xscale("log")
    axes.legend(frameon=False, fontsize=8)
    return _saved(figure, file)


def _draw_frontier(
    axes: Any, fit: Fit, rows: list[dict[str, Any]], checks: list[dict[str, Any]]
) -> None:
    """The least loss at each budget, where the law splits budgets at all."""
    spent = [row["flops"] for row in rows] + [check["flops"] for check in checks]
    budgets = np.geomspace(min(spent), 3 * max(spent), 60)
    try:
        losses = [fit.allocate(float(flops)).loss for flops in budgets]
    except ScalaxError:
        return
    axes.plot(budgets, losses, "--", color=_INK, linewidth=1.2, label="frontier")


def _forecast(
    file: Path, outcome: dict[str, Any], rows: list[dict[str, Any]], fit: Fit | None, metric: str
) -> Path:
    figure, axes = _axes(
        "Forecast against measured: fitted runs and the check",
        f"forecast {metric}",
        f"measured {metric}",
    )
    fitted = [row for row in rows if row["role"] == "fit"]
    forecasts, measured = [], []
    if fit is not None:
        forecasts = [_at(fit, row).loss for row in fitted]
        measured = [row[metric] for row in fitted]
        axes.plot(forecasts, measured, "o", color=_FAINT, markersize=5, label="fitted")
    checks = [c for c in outcome["check"] if c["measured"] and c["predicted"]]
    for index, check in enumerate(checks):
        low, high = check["low"], check["high"]
        error = None if low is None else [[check["predicted"] - low], [high - check["predicted"]]]
        axes.errorbar(
            check["predicted"],
            check["measured"],
            xerr=error,
            fmt="*",
            color=_ACCENT,
            markersize=12,
            capsize=3,
            label=None if index else "check, with its interval",
        )
    values = [*forecasts, *measured, *(c["predicted"] for c in checks)]
    values += [c["measured"] for c in checks]
    span = [min(values) * 0.98, max(values) * 1.02]
    axes.plot(span, span, color=_INK, linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
    return _saved(figure, file)


def _at(fit: Fit, row: dict[str, Any]) -> Any:
    """The forecast at a run, from its own columns."""
    columns = {name: row[name] for name in fit.form.columns if name in row}
    return fit.predict(**{"params": row["params"], "tokens": row["tokens"], **columns})


def _tokens(row: dict[str, Any]) -> float:
    return float(row["tokens"])
