"""[recipe]: an experiment's own laws, their precedence, and settings that contradict them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.sweep.run import prepare

RATE = "recipe.learning_rate={coefficient=0.5, params=-0.7, tokens=0.3}"


def fitted(experiment: Path, *overrides: str):
    return prepare(experiment, overrides).plan.fitted


def test_laws_of_the_file_set_rate_and_batch(experiment: Path) -> None:
    batch = "recipe.batch_tokens={coefficient=0.02, tokens=1}"
    for run in fitted(experiment, RATE, batch, 'train.batch="auto"'):
        rate = 0.5 * run.counts.params**-0.7 * 8000**0.3  # of the trunk's longest run
        assert run.spec.recipe.learning_rate == pytest.approx(rate)
        assert run.spec.recipe.batch == 4  # 160 tokens are 5 sequences of 32: 4 is nearest


def test_what_train_fixes_stands_above(experiment: Path) -> None:
    result = fitted(experiment, RATE, "train.learning_rate=0.003")
    assert {run.spec.recipe.learning_rate for run in result} == {0.003}


def test_a_published_law_is_named(experiment: Path) -> None:
    (run, *_) = fitted(experiment, 'recipe.law="porian2024"')
    rate = 3.7 * run.counts.params**-0.36
    assert run.spec.recipe.learning_rate == pytest.approx(rate)


def test_laws_of_a_file_are_used_and_one_given_beside_stands_above(
    experiment: Path, tmp_path: Path
) -> None:
    file = tmp_path / "hyperparameters.json"
    laws = {"learning_rate": {"coefficient": 0.004}, "batch_tokens": {"coefficient": 512}}
    file.write_text(json.dumps(laws))
    named = f'recipe.law="{file}"'
    (run, *_) = fitted(experiment, named, 'train.batch="auto"')
    assert (run.spec.recipe.learning_rate, run.spec.recipe.batch) == (0.004, 16)
    (run, *_) = fitted(experiment, named, "recipe.learning_rate={coefficient=0.001}")
    assert run.spec.recipe.learning_rate == 0.001


def test_the_second_moment_keeps_its_half_life_in_tokens(experiment: Path) -> None:
    law = "recipe.beta2_tokens={coefficient=2560}"
    small, large = (fitted(experiment, law, f"train.batch={b}")[0].spec.recipe for b in (8, 16))
    assert small.beta2**10 == pytest.approx(0.5)  # 2,560 tokens are 10 batches of 8 x 32
    assert large.beta2**5 == pytest.approx(0.5)


def test_warmup_may_grow_with_the_parameters(experiment: Path) -> None:
    """A long warm-up at small sizes bends a law of N* (Porian et al. 2024, arXiv:2406.19146)."""
    law = "recipe.warmup_tokens={coefficient=0.2, params=1}"
    for run in fitted(experiment, law):
        assert run.spec.warmup_steps == round(0.2 * run.counts.params / 256)
    with pytest.raises(
        ScalaxError, match=r"recipe\.warmup_tokens: .* takes 18 steps, .* has only 16"
    ):
        fitted(experiment, "recipe.warmup_tokens={coefficient=0.5, params=1}")


def test_proportions_are_set_in_the_file(experiment: Path) -> None:
    big = "sweep.params=[3e5]"
    (usual, *_), (flat, *_), (thick, *_) = (
        fitted(experiment, big, *more) for more in ([], ["model.ratio=200"], ["model.mlp_ratio=6"])
    )
    wide = flat.spec.shape
    assert wide.width / wide.layers > 2 * usual.spec.shape.width / usual.spec.shape.layers
    assert thick.spec.shape.hidden / thick.spec.shape.width == pytest.approx(6, rel=1 / 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipe.learning_rat={coefficient=1}"], r"recipe\.learning_rat: unknown key"),
        (["recipe.learning_rate={tokens=1}"], r"recipe\.learning_rate\.coefficient: missing key"),
        (["recipe.learning_rate={coefficient=-1}"], r"recipe\.learning_rate.*greater than 0"),
        (["recipe.learning_rate={coefficient=5}"], r"recipe\.learning_rate: .* at most 1, got 5"),
        (["recipe.weight_decay={coefficient=1, tokens=99}"], r"weight_decay\.tokens: expected"),
        (["recipe.law='steplaw'"], r"unknown published law 'steplaw'; did you mean"),
        (["recipe.law='missing.json'"], r"missing\.json: no such file"),
        (["model.parametrisation='mup'", RATE], r"recipe\.learning_rate: .* changes with size"),
        (
            ["model.parametrisation='mup'", "recipe.law='steplaw2025'"],
            r"recipe\.learning_rate: .* changes with size",
        ),
        (["model.parametrisation='mup'", "train.optimizer='sgd'"], r"for adamw only, got sgd"),
        (["model.parametrisation='mupp'"], r"model\.parametrisation: expected 'standard' or 'mup'"),
        (["sweep.axes.checkpoint_seconds=[1, 2]"], r"all runs of a sweep share checkpoint_seconds"),
    ],
)
def test_a_mistake_is_named(experiment: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ScalaxError, match=message) as caught:
        prepare(experiment, overrides)
    assert "\n" not in str(caught.value)
