"""The best learning rate: equal at all widths under mup, different at each in the standard one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scalax.sweep.run import run_experiment

EXPERIMENT = """
[data]
dataset = "stdlib"
seq_len = 64
[model]
family = "transformer"
layers = 2
head_dim = {head_dim}
parametrisation = "{parametrisation}"
base_width = {base}
[sweep]
kind = "grid"
params = "auto"
tokens = [{tokens}]
axes."model.width" = {widths}
axes.learning_rate = {rates}
[train]
batch = {batch}
eval_tokens = 65_536
[fit]
law = "chinchilla"
bootstrap = 0
"""


def best_rates(folder: Path, **settings: object) -> list[float]:
    """Returns the minimum of a parabola through the losses of each width, widths ascending."""
    file = folder / f"{settings['parametrisation']}.toml"
    file.write_text(EXPERIMENT.format(**settings))
    outcome = run_experiment(file, folder / file.stem)
    assert outcome is not None and outcome.tuning is not None, outcome
    assert len(outcome.tuning.optima) == len(settings["widths"]), outcome.notes
    return [optimum.learning_rate for optimum in outcome.tuning.optima]


@pytest.mark.group
def test_the_best_rate_of_small_models_stays(tmp_path: Path) -> None:
    small = {"head_dim": 8, "base": 16, "tokens": 60_000, "batch": 8, "widths": [16, 32, 64]}
    rates = [0.004, 0.012, 0.036, 0.108]
    result = best_rates(tmp_path, parametrisation="mup", rates=rates, **small)
    assert max(result) / min(result) < math.sqrt(2), result


@pytest.mark.slow
def test_the_best_rate_stays_under_mup_and_moves_without(tmp_path: Path) -> None:
    usual = {"head_dim": 16, "base": 64, "tokens": 300_000, "batch": 16, "widths": [32, 64, 128]}
    rates = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064]
    result = best_rates(tmp_path, parametrisation="mup", rates=rates, **usual)
    assert max(result) / min(result) < math.sqrt(2), result
    moved = best_rates(tmp_path, parametrisation="standard", rates=rates, **usual)
    assert moved[0] / moved[-1] > 2, moved
