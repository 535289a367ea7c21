"""The outcome of a sweep: its totals, its text, its page, and the JSON that `run --json` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalax.files import to_json
from scalax.report.outcome import ForecastCheck, Outcome
from scalax.report.outcome_text import outcome_lines
from scalax.report.page import write_report
from scalax.runs.schema import COLUMNS, RunResult, RunRow


def row(name: str, tokens: int, spent: float, result: RunResult) -> RunRow:
    before = RunRow(
        name=name, role="fit", status=None, params=1000, tokens=tokens, flops=6000.0 * tokens,
        loss=None, params_embedding=100, params_active=1000, flops_6nd=6000.0 * tokens,
        flops_spent=spent, unique_tokens=tokens, trunk="n1000-trunk", seed=0, learning_rate=0.01,
        batch_tokens=10, steps=tokens // 10, warmup_steps=1, schedule="wsd", precision="f32",
        target_params=1000.0, target_tokens=float(tokens), axes={"width": 16},
    )  # fmt: skip
    return before.with_result(result)


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    done = RunResult("done", {"loss": 2.5, "accuracy": 0.75})
    runs = [
        row("n1000-d100", 100, 600e3, done),
        row("n1000-d<200>", 200, 300e3, RunResult("diverged", reason="loss nan at step 4")),
    ]
    check = ForecastCheck(2000, 400, 4.8e6, predicted=2.0, low=1.9, high=2.1, measured=2.5)
    return Outcome(tmp_path, runs, "tokens", "loss", None, [check], None, ["a note"])


def test_a_row_has_the_columns_of_the_schema_then_axes_and_metrics(outcome: Outcome) -> None:
    done, diverged = outcome.rows
    assert list(done) == [*COLUMNS, "width", "accuracy"]
    assert (done["status"], done["loss"], done["accuracy"]) == ("done", 2.5, 0.75)
    assert list(diverged) == [*COLUMNS, "width"]
    assert (diverged["status"], diverged["loss"]) == ("diverged", None)


def test_compute_counts_shared_trunks_once(outcome: Outcome) -> None:
    assert outcome.compute.flops == 1.8e6
    assert outcome.compute.flops_spent == 0.9e6
    assert outcome.compute.saved == 0.5
    assert "2 runs, 9e+05 FLOPs spent" in outcome_lines(outcome)[0]
    assert "50% saved by shared trunks" in outcome_lines(outcome)[0]


def test_the_text_states_the_error_of_the_forecast(outcome: Outcome) -> None:
    (line,) = [line for line in outcome_lines(outcome) if line.startswith("check")]
    assert line == (
        "check at 2,000 params, 400 tokens: forecast 2.0000 (1.9000 to 2.1000), "
        "measured 2.5000, error -20.00%"
    )


def test_the_json_names_what_run_promises(outcome: Outcome) -> None:
    values = json.loads(to_json(outcome.to_json()))
    assert list(values) == [
        "out", "runs", "compute", "diverged", "fit", "check", "allocation", "hyperparameters",
        "notes",
    ]  # fmt: skip
    assert values["diverged"] == ["n1000-d<200>"]
    assert ForecastCheck.from_json(values["check"][0]) == outcome.check[0]


def test_the_page_escapes_names_and_shows_notes(outcome: Outcome) -> None:
    page = write_report(outcome).read_text()
    assert "n1000-d&lt;200&gt;" in page
    assert "n1000-d<200>" not in page
    assert '<p class="note">a note</p>' in page
    assert "error -20.00%" in page
