"""Arrays in memory become a dataset: names, unit, classes and fingerprint follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scalax as sx
from scalax.conform.check import check_plugin

RNG = np.random.default_rng(0)
TRAIN = {"at": RNG.random((40, 2)), "label": np.arange(40) % 3}
EVAL = {"at": RNG.random((20, 2)), "label": np.arange(20) % 3}


def spec(*args: Any, **options: Any) -> sx.DataSpec:
    return sx.arrays(*args, **options).open("mine", {}).spec


def test_a_dict_of_arrays_is_read_as_it_is() -> None:
    opened = spec(TRAIN, EVAL)
    assert opened.features == {"at": sx.Feature((2,), "float32"), "label": sx.Feature((), "int32")}
    assert (opened.unit, opened.units_per_example, opened.classes) == ("examples", 1, 3)
    assert (opened.train_examples, opened.eval_examples) == (40, 20)
    source = sx.arrays(TRAIN, EVAL).open("mine", {}).source("train")
    assert source[7]["label"] == 1
    np.testing.assert_allclose(source[7]["at"], TRAIN["at"][7], rtol=1e-6)


def test_pairs_and_tokens_are_named() -> None:
    images = np.zeros((5, 8, 8, 1)), [0, 1, 2, 3, 4]
    assert list(spec(images, images).features) == ["image", "label"]
    tokens = {"tokens": np.arange(66).reshape(2, 33)}
    opened = spec(tokens, tokens)
    assert (opened.unit, opened.units_per_example, opened.classes) == ("tokens", 32, 66)
    targets = np.zeros((4, 3)), np.zeros(4)
    assert spec(targets, targets).classes == 1


def test_the_fingerprint_follows_the_content() -> None:
    changed = {**TRAIN, "label": (TRAIN["label"] + 1) % 3}
    assert spec(TRAIN, EVAL).fingerprint == spec(dict(TRAIN), dict(EVAL)).fingerprint
    assert spec(TRAIN, EVAL).fingerprint != spec(changed, EVAL).fingerprint
    assert spec(TRAIN, EVAL).fingerprint != spec(TRAIN, {**EVAL, "at": EVAL["at"] + 1}).fingerprint


def test_registered_it_passes_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalax.registry.lookup._registered", {})
    sx.register("dataset", "mine", sx.arrays(TRAIN, EVAL))
    [report] = check_plugin("dataset:mine")
    assert [line for line in report.lines if not line.passed] == []


@pytest.mark.parametrize(
    ("train", "held_out", "says"),
    [
        ({"at": TRAIN["at"]}, EVAL, "expected the same features in both splits"),
        ({**TRAIN, "label": [1, 2]}, EVAL, "expected arrays of equal length"),
        ({"at": np.zeros((0, 2))}, {"at": np.zeros((1, 2))}, "of 1 or more"),
        ({"at": ["a", "b"]}, {"at": ["c"]}, "expected an array of numbers"),
        ({}, {}, "got no array"),
    ],
)
def test_arrays_that_do_not_match_are_refused(train: Any, held_out: Any, says: str) -> None:
    with pytest.raises(sx.ScalaxError, match=says):
        sx.arrays(train, held_out)


def test_it_takes_no_options() -> None:
    with pytest.raises(sx.ScalaxError, match=r"data\.seq_len: unknown key"):
        sx.arrays(TRAIN, EVAL).open("mine", {"seq_len": 3})
