"""Forecasts and splits by laws whose columns are not just params and tokens."""

from __future__ import annotations

import numpy as np
import pytest

import scalax as sx
from scalax.errors import ScalaxError
from scalax.laws.bits import bits_per_byte, nats_per_token
from scalax.predict.ensemble_law import EnsembleMember
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.predict.published_law import PublishedLaw
from scalax.predict.two_step import TwoStep

MOE = {"e": 0.9, "a": 1000.0, "b": 5000.0, "c": 0.4, "d": 10.0, "alpha": 0.4, "beta": 0.4}
MOE |= {"lam": -0.2, "delta": 0.1, "gamma": 0.15}


def test_a_law_of_one_variable_needs_no_other() -> None:
    fit = Fit("power-tokens", {"E": 1.0, "A": 100.0, "alpha": 0.2})
    answer = fit.predict(tokens=1e10)
    assert answer.loss == pytest.approx(1 + 100 * 1e10**-0.2)
    assert answer.params is None and answer.flops is None
    with pytest.raises(ScalaxError, match="power-tokens needs tokens"):
        fit.predict(params=1e9)


def test_a_law_of_compute_takes_flops_or_params_and_tokens() -> None:
    fit = Fit("power-flops", {"E": 1.0, "A": 100.0, "alpha": 0.1})
    assert fit.predict(params=1e9, tokens=1e10).loss == fit.predict(flops=6e19).loss


def test_repeated_tokens_raise_the_loss_and_a_note_says_when_they_are_ignored() -> None:
    law = sx.published("muennighoff2023")
    free, bound = law.allocate(1e22), law.allocate(1e22, unique_tokens=1e10)
    assert bound.loss > free.loss
    assert any("every token" in note for note in free.notes)
    assert not any("every token" in note for note in bound.notes)
    # The paper's section 5: with too little data, more epochs and fewer parameters.
    assert bound.params < free.params


def test_sparsity_and_active_parameters_are_equivalent() -> None:
    fit = Fit("moe", MOE)
    one = fit.predict(params=1e10, tokens=1e11, sparsity=0.9)
    other = fit.predict(params=1e10, tokens=1e11, params_active=1e9)
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    assert one.flops == pytest.approx(6 * 1e9 * 1e11)
    split = fit.allocate(1e22, sparsity=0.9)
    assert 6 * 0.1 * split.params * split.tokens == pytest.approx(1e22, rel=1e-9)


def test_low_precision_needs_more_parameters() -> None:
    c = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.34, "beta": 0.28}
    c |= {"gamma_w": 2.7, "gamma_a": 2.2, "gamma_kv": 1.0}
    fit = Fit("precision", c)
    assert fit.allocate(1e22, bits_weights=3).params > fit.allocate(1e22).params


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique": 1e9}, "reads no 'unique'"),
        ({"unique_tokens": -1.0}, "expected a positive number"),
        ({"unique_tokens": float("nan")}, "expected a positive number"),
    ],
)
def test_wrong_columns_are_rejected(options: dict[str, float], words: str) -> None:
    with pytest.raises(ScalaxError, match=words):
        sx.published("muennighoff2023").allocate(1e22, **options)


def test_lengths_must_agree() -> None:
    with pytest.raises(ScalaxError, match="3 params but 2 tokens"):
        sx.published("hoffmann2022").predict(params=[1e9, 2e9, 3e9], tokens=[1e10, 2e10])


def test_many_points_keep_their_order() -> None:
    answers = sx.published("hoffmann2022").predict(params=[1e9, 1e10], tokens=1e11)
    assert [p.params for p in answers] == [1e9, 1e10]
    assert answers[0].loss > answers[1].loss


def test_two_steps_apply_one_law_after_the_other() -> None:
    # Gadre et al. 2024: C4 and the average top-1 error, with the coefficients they print for C4
    # (table 6; epsilon 0.850, k 2.08, gamma 0.756).
    first = sx.published("gadre2024")
    second = Fit("loss-to-error", {"epsilon": 0.850, "k": 2.08, "gamma": 0.756})
    answers = TwoStep(first, second).predict(params=[1e8, 1.44e9], tokens=[2e9, 2.88e10])
    for point in answers:
        assert point.metric == pytest.approx(0.850 - 2.08 * np.exp(-0.756 * point.loss))
    assert answers[0].metric > answers[1].metric
    assert answers[0].low is None


def test_the_interval_of_the_loss_maps_to_one_of_the_metric() -> None:
    c = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.34, "beta": 0.28}
    rows = np.asarray(list(c.values())) * np.exp(
        0.01 * np.random.default_rng(0).normal(size=(100, 5))
    )
    first = Fit("chinchilla", c, samples=rows.tolist(), residuals=[-0.001, 0.001])
    second = Fit("loss-to-accuracy", {"chance": 0.25, "top": 0.95, "L0": 2.0, "k": 4.0})
    answer = TwoStep(first, second).predict(params=1e9, tokens=2e10)
    assert 0.25 < answer.low < answer.metric < answer.high < 0.95


def test_the_second_step_must_be_a_law_of_the_loss() -> None:
    with pytest.raises(ScalaxError, match="expected a law of the loss"):
        TwoStep(sx.published("hoffmann2022"), sx.published("hoffmann2022"))


def test_bits_per_byte_compare_tokenisers() -> None:
    # One nat a token and one token a byte is 1 / ln 2 bits a byte, by definition.
    assert bits_per_byte(1.0, 1.0) == pytest.approx(1.4426950408889634)
    np.testing.assert_allclose(
        nats_per_token(bits_per_byte([2.0, 3.0], [4.0, 3.5]), [4.0, 3.5]), [2.0, 3.0]
    )
    with pytest.raises(ScalaxError, match="bytes_per_token"):
        bits_per_byte(1.0, 0.0)


RANGES = {"params": [1e7, 1e9], "tokens": [1e9, 1e11], "flops": [6e17, 6e19]}
COEFFICIENTS = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.34, "beta": 0.28}
ERROR = ForecastError(6e19, 0.003, 0.004, 0.75, 0.75, 2.0)


def test_intervals_widen_outside_the_params_and_tokens_fitted() -> None:
    fit = Fit("chinchilla", COEFFICIENTS, ranges=RANGES, error=ERROR)

    def width(params: float, tokens: float) -> float:
        point = fit.predict(params=params, tokens=tokens)
        return float(np.log(point.high / point.low))

    inside = width(1e8, 1e10)
    for corner in ((1e9, 1e9), (1e7, 1e11)):
        assert width(*corner) == pytest.approx(inside, rel=1e-9)
    assert width(1e10, 1e8) > 1.5 * inside  # the same compute, ten times too large and too short
    assert width(1e5, 1e10) > width(1e6, 1e10) > inside
    # Where compute lies further out than params and tokens do, it alone counts, as in rollouts.
    low, high = ERROR.interval(1.0, 6e21)
    assert width(2e9, 5e11) == pytest.approx(np.log(high / low), rel=1e-9)


def test_reach_names_the_column_that_extrapolates_most() -> None:
    fit = Fit("chinchilla", COEFFICIENTS, ranges=RANGES, cautions=["few rows"])
    assert fit.reach(6e18, 1e8, 1e10) == ["few rows"]
    assert "10 times the params" in fit.reach(6e19, 1e10, 1e9)[-1]
    assert "100 times below the tokens" in fit.reach(6e15, 1e8, 1e7)[-1]
    assert "beyond what the data supports" in fit.reach(6e19, 1e12, 1e9)[-1]
    assert fit.reach(6e20, 2e9, 5e10)[1:] == ["10 times the compute of the largest run fitted"]
    assert "6 times below the compute" in fit.reach(1e17)[-1]
    assert "500 times the params" in fit.reach([6e18, 6e18], [1e8, 5e11], [1e10, 1e10])[-1]


def test_an_allocation_repeats_the_cautions_of_its_fit() -> None:
    caution = "identifiability: the data cannot tell A and alpha apart"
    fit = Fit("chinchilla", COEFFICIENTS, notes=["dropped 2", caution], cautions=[caution])
    notes = fit.allocate(1e20).notes
    assert caution in notes
    assert "dropped 2" not in notes


def test_no_split_is_known_if_params_are_constant() -> None:
    ranges = RANGES | {"params": [1e8, 1e8]}
    fit = Fit("chinchilla", COEFFICIENTS, ranges=ranges, error=ERROR, split_error=ERROR)
    answer = fit.allocate(1e19)
    assert answer.intervals["params"] is None
    assert answer.intervals["tokens"] is None
    assert any("params was the same" in note for note in answer.notes)
    varied = Fit("chinchilla", COEFFICIENTS, ranges=RANGES, error=ERROR, split_error=ERROR)
    assert varied.allocate(1e19).intervals["params"] is not None


def test_a_split_below_one_parameter_is_rejected() -> None:
    with pytest.raises(ScalaxError, match="less than one"):
        Fit("chinchilla", COEFFICIENTS | {"A": 1e-12}).allocate(1e19)


def test_deprecated_names_still_work() -> None:
    law = sx.published("gadre2024")
    paper = sx.published("kaplan2020")
    assert isinstance(paper, PublishedLaw)
    with pytest.warns(DeprecationWarning, match="require_loss"):
        assert paper.demand_loss() is paper.require_loss()
    member = EnsembleMember("overtraining", "flat", 1.0, law.coefficients)
    with pytest.warns(DeprecationWarning, match=r"member\.share"):
        assert member["share"] == 1.0
