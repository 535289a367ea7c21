"""Draws a compute-optimal frontier: sizes, data and loss over budgets."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from scalax.errors import ScalaxError
from scalax.files import write_bytes
from scalax.predict.answers import Allocation

_INK, _ACCENT, _SECOND = "#1a1a1a", "#c2410c", "#1d4ed8"


def draw_frontier(
    path: Path, budgets: Sequence[float], answers: Sequence[Allocation], label: str
) -> None:
    """Draws N* and D* over budgets, and the loss where the law gives one, to a PNG file.

    Args:
        path: The file, which must end in ``.png``.
        budgets: Budget of each answer, on the horizontal axis.
        answers: The best split at each budget.
        label: Label of the horizontal axis, with its unit.

    Raises:
        ScalaxError: The file's name does not end in .png, or it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ScalaxError(
            "expected a .png file", where=f"--out {path}", fix=f"write {path.stem}.png"
        )
    from matplotlib.figure import Figure

    losses = [
        (b, a.loss, a.intervals.get("loss"))
        for b, a in zip(budgets, answers, strict=True)
        if a.loss is not None
    ]
    figure = Figure(figsize=(10.4 if losses else 5.6, 4.4), dpi=150, layout="constrained")
    sizes = figure.add_subplot(1, 2 if losses else 1, 1)
    marks: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.4}
    sizes.plot(budgets, [a.params for a in answers], color=_ACCENT, label="parameters N*", **marks)
    sizes.plot(budgets, [a.tokens for a in answers], color=_SECOND, label="tokens D*", **marks)
    sizes.set(xscale="log", yscale="log", xlabel=label)
    sizes.set_title("Best size and data", loc="left", fontsize=11, color=_INK)
    sizes.legend(frameon=False)
    if losses:
        loss = figure.add_subplot(1, 2, 2)
        loss.plot([b for b, _, _ in losses], [value for _, value, _ in losses], color=_INK, **marks)
        spans = [(b, interval) for b, _, interval in losses if interval]
        low, high = [span[0] for _, span in spans], [span[1] for _, span in spans]
        loss.fill_between([b for b, _ in spans], low, high, color=_INK, alpha=0.12, lw=0)
        loss.set(xscale="log", xlabel=label, ylabel="loss")
        loss.set_title(f"Loss by {answers[0].law}", loc="left", fontsize=11, color=_INK)
    for axes in figure.axes:
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    write_bytes(path, stream.getvalue())
