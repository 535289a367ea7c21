"""The report of a sweep: one HTML file with its figures inside, to be mailed or kept."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scalax.files import write_text
from scalax.predict.fit_result import Fit
from scalax.report.allocation_text import members_by_form
from scalax.report.figures import draw_all
from scalax.report.hyperparameter_text import law_rows, optimum_rows
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


def write_report(
    folder: Path, outcome: dict[str, Any], fit: Fit | None, unit: str, metric: str
) -> Path:
    """Draws the figures and writes report.html.

    Args:
        folder: The sweep's folder.
        outcome: As `Outcome.to_json`.
        fit: The law fitted, if any.
        unit: What data is counted in.
        metric: What was fitted.

    Returns:
        The page's path.
    """
    figures = draw_all(folder, outcome, fit, unit, metric)
    parts = [f"<h1>{html.escape(folder.name)}</h1>", f"<p>{_summary(outcome)}</p>"]
    parts += [f'<p class="note">{html.escape(note)}</p>' for note in outcome["notes"]]
    if outcome["check"]:
        parts.append("<h2>The forecast, tested</h2>")
        parts += [f"<p>{html.escape(check_line(check, unit))}</p>" for check in outcome["check"]]
    if fit is not None:
        parts += ["<h2>The law</h2>", f"<p><code>{html.escape(fit.form.equation)}</code></p>"]
        parts.append(_coefficients(fit))
    if outcome["allocation"]:
        parts.append("<h2>The allocation</h2>" + _allocation(outcome["allocation"], unit))
    if outcome["hyperparameters"]:
        parts.append("<h2>Learning rate and batch</h2>" + _tuning(outcome["hyperparameters"], unit))
    for figure in figures:
        data = base64.b64encode(figure.read_bytes()).decode()
        name = figure.stem.replace("_", " ")
        parts.append(f'<p><img alt="{name}" src="data:image/png;base64,{data}"></p>')
    parts += ["<h2>The runs</h2>", _runs(outcome["runs"], unit, metric)]
    page = folder / "report.html"
    write_text(
        page,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{folder.name}</title>'
        f"<style>{_STYLE}</style>{''.join(parts)}</html>\n",
    )
    return page


def _summary(outcome: dict[str, Any]) -> str:
    return f"{compute_line(outcome['runs'])}; {len(outcome['diverged'])} diverged."


def _coefficients(fit: Fit) -> str:
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


def _tuning(tuning: dict[str, Any], unit: str) -> str:
    head = ["law", "number", "estimate", f"{tuning['level']:.0%} interval"]
    return _table(head, law_rows(tuning)) + "<p></p>" + _table(*optimum_rows(tuning, unit))


def _allocation(answer: dict[str, Any], unit: str) -> str:
    def span(name: str) -> str:
        found = answer["intervals"].get(name)
        return f"{found[0]:.4g} to {found[1]:.4g}" if found else ""

    return _table(
        ["quantity", "value", "interval"],
        [
            ["compute budget, FLOPs", f"{answer['flops']:.4g}", ""],
            ["parameters N*", f"{answer['params']:.4g}", span("params")],
            [f"{unit} D*", f"{answer['tokens']:.4g}", span("tokens")],
            [f"{unit} per parameter", f"{answer['tokens_per_param']:.4g}", ""],
            ["loss", f"{answer['loss']:.4g}", span("loss")],
        ],
    ) + "".join(f'<p class="note">{html.escape(note)}</p>' for note in answer["notes"])


def _runs(rows: list[dict[str, Any]], unit: str, metric: str) -> str:
    measured = list(dict.fromkeys([metric, "loss"]))
    body = (
        [row["name"], f"{row['params']:,}", f"{row['tokens']:,}", f"{row['flops']:.3g}"]
        + [_number(row.get(name)) for name in measured]
        + [row["role"], row["status"]]
        for row in rows
    )
    head = ["run", "params", unit, "FLOPs", *measured, "role", "status"]
    return f'<div class="scroll">{_table(head, body)}</div>'


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
