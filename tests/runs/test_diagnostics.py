"""Warnings about units are given where columns contradict each other, not for small runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scalax.fit.prepare import prepare_runs
from scalax.runs.diagnostics import unit_warnings

DATA = Path(__file__).parents[2] / "experiments" / "data"
PARAMS = np.array([1e8, 4e8, 1e9, 4e9])
TOKENS = 20 * PARAMS
LARGE = {"params": PARAMS, "tokens": TOKENS, "flops": 6 * PARAMS * TOKENS}


def warned(columns: dict[str, np.ndarray]) -> list[str]:
    runs = prepare_runs({**columns, "loss": np.array([3.0, 2.8, 2.6, 2.4])})
    return [note for note in runs.notes if "millions" in note]


def test_a_consistent_sweep_of_small_models_gives_no_warning():
    runs = prepare_runs(DATA / "tune.csv")
    assert runs["tokens"].min() < 1e5
    assert unit_warnings(runs) == []


def test_large_models_and_images_give_no_warning():
    assert not warned(LARGE)
    # A convolution uses each parameter many times for one image.
    images = {"params": PARAMS / 2e4, "tokens": np.full(4, 6e4)}
    assert not warned({**images, "flops": 600 * images["params"] * images["tokens"]})


@pytest.mark.parametrize("unit", [1e6, 1e9])
@pytest.mark.parametrize("name", ["params", "tokens"])
@pytest.mark.parametrize("given", [("params", "tokens"), ("params", "tokens", "flops")])
def test_a_column_in_millions_or_billions_is_reported(name, unit, given):
    columns = {key: LARGE[key] for key in given}
    notes = warned({**columns, name: columns[name] / unit})
    assert len(notes) == 1
    assert notes[0].startswith(f"{name} is ")
    assert "every row" in notes[0]


def test_params_in_millions_are_reported_where_tokens_follow_from_flops():
    notes = warned({"params": PARAMS / 1e6, "flops": LARGE["flops"]})
    assert any(note.startswith("params") for note in notes)
