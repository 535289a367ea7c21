"""The best run of a point is kept; each amount of distinct data is a point of its own."""

from __future__ import annotations

import numpy as np

from scalax.runs.clean import best_per_point
from scalax.runs.table import Runs


def table(**columns: list[float]) -> Runs:
    rows = len(columns["loss"])
    planned = {"target_params": np.full(rows, 1e4), "target_tokens": np.full(rows, 4e3)}
    return Runs.from_columns({"params": np.full(rows, 1e4), **planned, **columns})


def test_the_best_of_a_point_is_kept_though_its_batch_rounds_tokens_otherwise():
    runs = table(
        tokens=[4000.0, 4032.0, 3968.0],
        unique_tokens=[4000.0, 4032.0, 3968.0],
        batch=[16.0, 32.0, 64.0],
        loss=[0.3, 0.2, 0.4],
    )
    best = best_per_point(runs)
    assert best["loss"].tolist() == [0.2]
    assert any("2 runs set aside" in note for note in best.notes)


def test_runs_on_other_amounts_of_distinct_data_are_no_settings_of_one_point():
    runs = table(
        tokens=[4000.0] * 4,
        unique_tokens=[100.0, 100.0, 1000.0, 4000.0],
        seed=[0.0, 1.0, 0.0, 0.0],
        loss=[0.9, 0.8, 0.3, 0.2],
    )
    assert best_per_point(runs)["loss"].tolist() == [0.8, 0.3, 0.2]
