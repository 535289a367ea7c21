"""Which law an allocation recommends learning rate and batch size by, and what its notes say."""

from __future__ import annotations

import pytest

import scalax as sx
from scalax.predict.answers import Allocation
from scalax.predict.recommend import TrainedBy, recommend, trained_by
from scalax.shapes.transformer_recipe import USUAL


def allocation(params: float, tokens: float) -> Allocation:
    flops = 6 * params * tokens
    return Allocation(flops, params, tokens, tokens / params, 3.0, {})


def test_at_the_sizes_of_the_recipe_the_answer_is_what_run_trains_with() -> None:
    answer = recommend(allocation(1.6e5, 1e6))
    recipe = USUAL.hyperparameters(1.6e5, 1e6, seq_len=1)
    assert answer.learning_rate == recipe.learning_rate
    assert answer.batch_tokens == pytest.approx(0.58 * 1e6**0.571)
    assert answer.hyperparameter_law == "scalax-transformer"
    assert answer.notes == [
        "learning rate and batch by scalax-transformer, the recipe of scalax run"
    ]


def test_the_limit_of_the_recipe_holds_in_the_answer_too() -> None:
    answer = recommend(allocation(2e4, 1.5e6))
    assert answer.learning_rate == USUAL.hyperparameters(2e4, 1.5e6, seq_len=1).learning_rate
    assert answer.learning_rate == 0.02
    assert "from runs with 2 times more params" in answer.notes[0]


def test_another_law_is_named_with_its_distance_and_what_run_would_use() -> None:
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
def test_far_from_all_runs_nothing_is_recommended(params: float, tokens: float) -> None:
    answer = recommend(allocation(params, tokens))
    assert answer.learning_rate is None and answer.batch_tokens is None
    assert answer.hyperparameter_law is None
    assert "no learning rate or batch: the nearest law" in answer.notes[0]


def test_a_paper_answers_by_its_own_law() -> None:
    answer = recommend(allocation(1e8, 2e9), TrainedBy(published="porian2024"))
    assert answer.hyperparameter_law == "porian2024"


def test_a_sweep_of_another_family_is_named() -> None:
    answer = recommend(allocation(1.6e5, 1e6), TrainedBy(family="vit"))
    assert "the sweep trained vit" in answer.notes[-1]
    assert len(recommend(allocation(1.6e5, 1e6), TrainedBy(family="transformer")).notes) == 1


def test_what_the_sweep_found_goes_before_other_laws() -> None:
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
