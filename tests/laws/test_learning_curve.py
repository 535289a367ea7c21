"""The columns of the learning-curve law, from schedules and from what a run logged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax.errors import ScalaxError
from scalax.laws.learning_curve import LearningCurve, curve_columns, schedule_areas


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12).filter(lambda r: r[0] > 0),
    st.floats(0, 0.99),
)
def test_the_areas_are_the_double_sum_of_the_paper(rates: list[float], decay: float) -> None:
    area, annealing = schedule_areas(rates, decay)
    for s in range(len(rates)):
        total = sum(
            (rates[k - 1] - rates[k]) * decay ** (i - k)
            for i in range(1, s + 1)
            for k in range(1, i + 1)
        )
        assert area[s] == pytest.approx(sum(rates[: s + 1]))
        assert annealing[s] == pytest.approx(total, abs=1e-9)


def test_a_constant_rate_anneals_nothing_and_decay_helps() -> None:
    steps = 2000
    flat = np.full(steps, 1e-3)
    decayed = np.where(np.arange(steps) < 1600, 1e-3, 1e-3 * (steps - np.arange(steps)) / 400)
    c = {"E": 2.5, "A": 0.5, "C": 2.0, "alpha": 0.5}
    ends = []
    for rates in (flat, decayed):
        area, annealing = schedule_areas(rates)
        at = {"lr_area": area[-1], "lr_annealing": annealing[-1]}
        ends.append(float(LearningCurve().loss(np, c, at)))
    assert schedule_areas(flat)[1][-1] == 0
    assert ends[1] < ends[0]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ([], "0 or more"),
        ([-1.0], "0 or more"),
        ([1.0, float("nan")], "0 or more"),
        ([0.0, 1.0], "begin after warm-up"),
    ],
)
def test_rates_that_cannot_be_are_refused(rates: list[float], words: str) -> None:
    with pytest.raises(ScalaxError, match=words):
        schedule_areas(rates)


def test_the_columns_come_from_a_runs_log(tmp_path: Path) -> None:
    # Five warm-up steps, then the rate falls by 1 a step from 100; it is logged every 5 steps, the
    # loss at three others.
    file = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "learning_rate": 105.0 - s} for s in range(6, 27, 5)]
    rows += [{"step": s, "loss": 3.0 - s / 100} for s in (8, 16, 24)]
    rows += [{"step": 3, "loss": 9.9, "learning_rate": 1.0}]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found = curve_columns(file, warmup_steps=5, decay=0.5)
    assert found["step"].tolist() == [8, 16, 24]
    assert found["loss"].tolist() == pytest.approx([2.92, 2.84, 2.76])
    rates = 105.0 - np.arange(6, 27)
    area, annealing = schedule_areas(rates, 0.5)
    assert found["lr_area"].tolist() == pytest.approx(area[[2, 10, 18]].tolist())
    assert found["lr_annealing"].tolist() == pytest.approx(annealing[[2, 10, 18]].tolist())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "its keys are"),
        ('{"step": 1, "loss": 2.0}\n', "learning_rate"),
        ("not json\n", "line 1: expected a JSON object"),
        ("[1]\n", "line 1: expected a JSON object"),
    ],
)
def test_a_log_that_will_not_do_is_told(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(text)
    with pytest.raises(ScalaxError, match=words):
        curve_columns(file)


def test_a_missing_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScalaxError, match="cannot be read"):
        curve_columns(tmp_path / "none.jsonl")
