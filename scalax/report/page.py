"""Writes the report of a sweep: one HTML file that contains its figures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path

from scalax.files import write_text
from scalax.fit.hyperparameters import Tuning
from scalax.predict.answers import Allocation
from scalax.predict.fit_result import Fit
from scalax.report.allocation_text import members_by_form
from scalax.report.figures import draw_all
from scalax.report.hyperparameter_text import law_rows, optimum_rows
from scalax.report.outcome import Outcome
from scalax.report.outcome_text import check_line, compute_line

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2.5rem auto;
       max-width: 52rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: #555; } img { max-width: 100%; } .note { color: #8a4b00; }
.scroll { overflow-x: auto; } code { background: #f5f5f5; padding: 0 .25rem; }
"""


def write_report(outcome: Outcome) -> Path:
    """Draws the figures of a sweep and writes report.html to its folder.

    Args:
        outcome: The outcome of the sweep.

    Returns:
        The path of the page.
    """
    name, unit = html.escape(outcome.out.name), outcome.unit
    summary = f"{compute_line(outcome)}; {len(outcome.diverged)} diverged."
    parts = [f"<h1>{name}</h1>", f"<p>{summary}</p>", *_notes(outcome.notes)]
    if outcome.check:
        parts.append("<h2>Test of the forecast</h2>")
        parts += [f"<p>{html.escape(check_line(check, unit))}</p>" for check in outcome.check]
    if outcome.fit:
        equation = html.escape(outcome.fit.form.equation)
        parts += ["<h2>The law</h2>", f"<p><code>{equation}</code></p>", _law(outcome.fit)]
    if outcome.allocation:
        parts += ["<h2>The allocation</h2>", _allocation(outcome.allocation, unit)]
    if outcome.tuning:
        parts += ["<h2>Learning rate and batch</h2>", _tuning(outcome.tuning, unit)]
    parts += [_figure(file) for file in draw_all(outcome)]
    parts += ["<h2>The runs</h2>", _runs(outcome)]
    page = outcome.out / "report.html"
    write_text(
        page,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n",
    )
    return page


def _notes(notes: Iterable[str]) -> list[str]:
    return [f'<p class="note">{html.escape(note)}</p>' for note in notes]


def _figure(file: Path) -> str:
    """Returns a figure as an image inside the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    caption = file.stem.replace("_", " ")
    return f'<p><img alt="{caption}" src="data:image/png;base64,{data}"></p>'


def _law(fit: Fit) -> str:
    if fit.coefficients is None:
        return _table(
            ["member", "weights", "share", "draws"],
            (
                [law, weights, f"{share:.1%}", str(count)]
                for law, weights, share, count in members_by_form(fit.members)
            ),
        )
    spans = fit.intervals or {}
    return _table(
        ["coefficient", "estimate", f"{fit.level:.0%} interval"],
        (
            [name, f"{value:.5g}", " to ".join(f"{end:.4g}" for end in spans.get(name, ()))]
            for name, value in fit.coefficients.items()
        ),
    )


def _tuning(tuning: Tuning, unit: str) -> str:
    headers = ["law", "number", "estimate", f"{tuning.level:.0%} interval"]
    return _table(headers, law_rows(tuning)) + "<p></p>" + _table(*optimum_rows(tuning, unit))


def _allocation(answer: Allocation, unit: str) -> str:
    def interval(name: str) -> str:
        ends = answer.intervals.get(name)
        return f"{ends[0]:.4g} to {ends[1]:.4g}" if ends else ""

    table = _table(
        ["quantity", "value", "interval"],
        [
            ["compute budget, FLOPs", f"{answer.flops:.4g}", ""],
            ["parameters N*", f"{answer.params:.4g}", interval("params")],
            [f"{unit} D*", f"{answer.tokens:.4g}", interval("tokens")],
            [f"{unit} per parameter", f"{answer.tokens_per_param:.4g}", ""],
            ["loss", f"{answer.loss:.4g}", interval("loss")],
        ],
    )
    return table + "".join(_notes(answer.notes))


def _runs(outcome: Outcome) -> str:
    metrics = list(dict.fromkeys([outcome.metric, "loss"]))
    body = (
        [run.name, f"{run.params:,}", f"{run.tokens:,}", f"{run.flops:.3g}"]
        + [_number(run.metrics.get(name)) for name in metrics]
        + [run.role, str(run.status)]
        for run in outcome.runs
    )
    headers = ["run", "params", outcome.unit, "FLOPs", *metrics, "role", "status"]
    return f'<div class="scroll">{_table(headers, body)}</div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
