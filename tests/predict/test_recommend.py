"""The law of learning rate and batch size that an allocation recommends, and its notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scalax as sx
from scalax.predict.answers import Allocation
from scalax.predict.read_fit import read_fit
from scalax.predict.recommend import TrainedBy, recommend, trained_by
from scalax.shapes.transformer_recipe import USUAL
from scalax.sweep.run import run_experiment


def allocation(params: float, tokens: float) -> Allocation:
    flops = 6 * params * tokens
    return Allocation(flops, params, tokens, tokens / params, 3.0, {})


def test_within_its_range_the_recipe_of_scalax_run_is_recommended() -> None:
    answer = recommend(allocation(1.6e5, 1e6))
    recipe = USUAL.hyperparameters(1.6e5, 1e6, seq_len=1)
    assert answer.learning_rate == recipe.learning_rate
    assert answer.batch_tokens == pytest.approx(0.58 * 1e6**0.571)
    assert answer.hyperparameter_law == "scalax-transformer"
    assert answer.notes == [
        "learning rate and batch by scalax-transformer, the recipe of scalax run"
    ]


def test_the_recommended_rate_has_the_limit_of_the_recipe() -> None:
    answer = recommend(allocation(2e4, 1.5e6))
    assert answer.learning_rate == USUAL.hyperparameters(2e4, 1.5e6, seq_len=1).learning_rate
    assert answer.learning_rate == 0.02
    assert "from runs with 2 times more params" in answer.notes[0]


def test_notes_name_another_law_its_distance_and_the_rate_of_scalax_run() -> None:
    answer = recommend(allocation(1.073741824e10, 2e10))
    recipe = USUAL.hyperparameters(1.073741824e10, 2e10, seq_len=1)
    assert answer.hyperparameter_law == "steplaw2025"
    assert (
        "by steplaw2025, of language models, from runs with 10 times fewer params"
        in (answer.notes[0])
    )
    assert f"learning rate of {recipe.learning_rate:.3g}" in answer.notes[1]
    assert "17,000 times fewer params and 13,000 times fewer tokens" in answer.notes[1]
    inside = recommend(allocation(5e8, 2e10))
    assert inside.notes[0] == "learning rate and batch by steplaw2025, of language models"


@pytest.mark.parametrize(("params", "tokens"), [(1e4, 1e10), (1e9, 1e15), (2e11, 1e10)])
def test_far_outside_every_law_nothing_is_recommended(params: float, tokens: float) -> None:
    answer = recommend(allocation(params, tokens))
    assert answer.learning_rate is None and answer.batch_tokens is None
    assert answer.hyperparameter_law is None
    assert "no learning rate or batch: the nearest law" in answer.notes[0]


def test_a_published_law_uses_the_hyperparameters_of_its_paper() -> None:
    answer = recommend(allocation(1e8, 2e9), TrainedBy(published="porian2024"))
    assert answer.hyperparameter_law == "porian2024"


def test_a_sweep_of_another_family_is_named() -> None:
    answer = recommend(allocation(1.6e5, 1e6), TrainedBy(family="vit"))
    assert "the sweep trained vit" in answer.notes[-1]
    assert len(recommend(allocation(1.6e5, 1e6), TrainedBy(family="transformer")).notes) == 1


def test_hyperparameters_of_the_sweep_take_precedence() -> None:
    rate = {"coefficient": 0.1, "params": -0.2, "tokens": 0.0, "flops": 0.0}
    ranges = {"params": [1e5, 1e6], "tokens": [1e6, 1e7]}
    settings = {"family": "transformer", "hyperparameters": {"learning_rate": rate}}
    settings["hyperparameters"] |= {"ranges": ranges}
    answer = recommend(allocation(1e6, 3e7), trained_by(settings))
    assert answer.learning_rate == pytest.approx(0.1 * 1e6**-0.2)
    assert answer.batch_tokens == pytest.approx(0.58 * 3e7**0.571)
    assert "by hyperparameters.json, found by the fit's own sweep" in answer.notes[0]
    assert "3 times fewer tokens" in answer.notes[0]
    fit = sx.Fit(
        "chinchilla",
        {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
        settings=settings,
    )
    assert fit.allocate(6 * 1e6 * 1e7).hyperparameter_law == "hyperparameters.json"


def test_a_mup_sweep_gets_the_mup_rate_and_never_the_standard_one() -> None:
    mup = TrainedBy(family="transformer (mup)")
    answer = recommend(allocation(1.6e5, 1e6), mup)
    recipe = USUAL.hyperparameters(1.6e5, 1e6, seq_len=1, mup=True)
    assert answer.hyperparameter_law == "scalax-transformer-mup"
    assert answer.learning_rate == recipe.learning_rate
    assert answer.batch_tokens == recommend(allocation(1.6e5, 1e6)).batch_tokens
    assert any("base width" in note for note in answer.notes)
    # Step Law, which is for the standard parametrisation, is nearer to this size.
    far = recommend(allocation(1e10, 2e11), mup)
    assert far.learning_rate is None
    assert "scalax-transformer-mup, was fitted to runs with" in far.notes[0]
    assert not any("steplaw2025" in note or "learning rate of" in note for note in far.notes)


def test_a_mup_sweep_that_varied_only_batch_gets_the_mup_rate() -> None:
    batch = {"coefficient": 2.0, "params": 0.0, "tokens": 0.5, "flops": 0.0}
    laws = {"batch_tokens": batch, "ranges": {"params": [1e5, 1e6], "tokens": [1e6, 1e7]}}
    settings = {"family": "transformer (mup)", "hyperparameters": laws}
    answer = recommend(allocation(1e6, 4e6), trained_by(settings))
    assert answer.learning_rate == USUAL.hyperparameters(1e6, 4e6, 1, mup=True).learning_rate
    assert answer.batch_tokens == pytest.approx(2.0 * 4e6**0.5)
    assert "learning_rate by scalax-transformer-mup" in answer.notes[0]


def test_a_tuned_mup_sweep_writes_both_to_its_fit(experiment: Path, tmp_path: Path) -> None:
    text = experiment.read_text().partition("[check]")[0]
    for old, new in (
        ("tied = true", 'tied = true\nparametrisation = "mup"'),
        ("params = [9_000, 14_000]", "params = [9_000]"),
        ("tokens = [4_000, 8_000]", "tokens = [4_000, 6_000, 8_000]"),
        ("[train]", "axes.learning_rate = [0.002, 0.01, 0.05]\n\n[train]"),
        ('"chinchilla"', '"power-tokens"'),
    ):
        text = text.replace(old, new)
    file = tmp_path / "tiny.toml"
    file.write_text(text)
    run_experiment(file, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "fit.json").read_text())["settings"]
    assert settings["family"] == "transformer (mup)"
    assert {"learning_rate", "ranges"} <= set(settings["hyperparameters"])
    trained = read_fit(tmp_path / "out" / "fit.json").trained_by
    assert recommend(allocation(9e3, 1e4), trained).hyperparameter_law == "hyperparameters.json"
