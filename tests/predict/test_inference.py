"""Allocations that include inference: Sardana et al.'s example, brute force, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scalax as sx
from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.predict.inference import allocate_with_inference

# The coefficients that Sardana et al. 2023 (arXiv:2401.00448) compute with.
SARDANA = Fit("chinchilla", {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283})


def test_sardanas_example() -> None:
    # The authors' published code for a loss of 1.947 and 2e12 tokens served: 2.418e10 params on
    # 2.657e12 tokens, 70.96 % of the params, 146.77 % of the tokens and 95.22 % of the compute
    # of the Chinchilla-optimal model of equal quality.
    served = allocate_with_inference(SARDANA, 2e12, target_loss=1.947)
    plain = allocate_with_inference(SARDANA, 0, target_loss=1.947)
    assert served.params == pytest.approx(2.418e10, rel=1e-3)
    assert served.tokens == pytest.approx(2.657e12, rel=1e-3)
    assert served.params / plain.params == pytest.approx(0.7096, rel=1e-3)
    assert served.tokens / plain.tokens == pytest.approx(1.4677, rel=1e-3)
    whole = plain.flops + 2 * plain.params * 2e12
    assert served.flops / whole == pytest.approx(0.9522, rel=1e-3)


def test_sardanas_abstract() -> None:
    # Abstract: for the quality of a 13B Chinchilla and 2e12 tokens served, a 7B model on more
    # data saves 1.7e22 FLOPs, 17 %.
    from scalax.laws.closed_allocation import split_two_powers

    c = SARDANA.coefficients
    budgets = np.geomspace(1e21, 1e24, 2001)
    sizes, tokens = split_two_powers(
        c["alpha"], np.log(c["A"]), c["beta"], np.log(c["B"]), budgets, ComputeRule()
    )
    at = int(np.argmin(np.abs(sizes - 13e9)))
    target = float(SARDANA.loss(params=sizes[at], tokens=tokens[at]))
    served = allocate_with_inference(SARDANA, 2e12, target_loss=target)
    whole = budgets[at] + 2 * sizes[at] * 2e12
    assert served.params == pytest.approx(7e9, rel=0.1)
    assert whole - served.flops == pytest.approx(1.7e22, rel=0.1)
    assert 1 - served.flops / whole == pytest.approx(0.17, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(
    log_flops=st.floats(20, 25),
    share=st.floats(0.01, 3.0),
    exponent=st.floats(0.9, 1.1),
)
def test_a_whole_budget_is_spent_as_well_as_brute_force(
    log_flops: float, share: float, exponent: float
) -> None:
    fit = Fit(
        "chinchilla", SARDANA.coefficients, compute=ComputeRule(6 * 1e9 ** (1 - exponent), exponent)
    )
    flops = 10**log_flops
    served = share * fit.allocate(flops).tokens
    answer = allocate_with_inference(fit, served, flops=flops)
    assert answer.training_flops + answer.inference_flops == pytest.approx(flops, rel=1e-9)
    assert answer.inference_flops == pytest.approx(2 * answer.params * served, rel=1e-9)
    sizes = answer.params * np.exp(np.linspace(-5, 5, 2001))
    left = flops - 2 * sizes * served
    sizes, left = sizes[left > 0], left[left > 0]
    tokens = fit.compute.tokens(sizes, left)
    assert answer.loss <= fit.loss(params=sizes, tokens=tokens).min() * (1 + 1e-12)
    assert answer.params < fit.allocate(flops).params


@settings(max_examples=10, deadline=None)
@given(loss=st.floats(1.85, 2.6), log_served=st.floats(9, 14))
def test_a_target_is_met_as_cheaply_as_brute_force(loss: float, log_served: float) -> None:
    served = 10**log_served
    answer = allocate_with_inference(SARDANA, served, target_loss=loss)
    assert answer.loss == pytest.approx(loss, rel=1e-9)
    c = SARDANA.coefficients
    sizes = answer.params * np.exp(np.linspace(-4, 4, 2001))
    rest = loss - c["E"] - c["A"] / sizes ** c["alpha"]
    sizes, rest = sizes[rest > 0], rest[rest > 0]
    tokens = (c["B"] / rest) ** (1 / c["beta"])
    assert answer.flops <= (6 * sizes * tokens + 2 * sizes * served).min() * (1 + 1e-9)


def test_without_inference_the_split_is_the_training_optimum() -> None:
    plain = SARDANA.allocate(1e22)
    answer = allocate_with_inference(SARDANA, 0, flops=1e22)
    assert answer.params == pytest.approx(plain.params, rel=1e-6)
    back = allocate_with_inference(SARDANA, 0, target_loss=plain.loss)
    assert back.flops == pytest.approx(1e22, rel=1e-6)


def test_a_mixture_of_experts_serves_its_active_parameters() -> None:
    c = {"e": 0.9, "a": 1000.0, "b": 5000.0, "c": 0.4, "d": 10.0}
    c |= {"alpha": 0.4, "beta": 0.4, "lam": -0.2, "delta": 0.1, "gamma": 0.15}
    answer = allocate_with_inference(Fit("moe", c), 1e12, flops=1e22, given={"sparsity": 0.9})
    assert answer.inference_flops == pytest.approx(2 * 0.1 * answer.params * 1e12, rel=1e-9)
    assert answer.training_flops == pytest.approx(6 * 0.1 * answer.params * answer.tokens, rel=1e-9)


def test_samples_give_intervals() -> None:
    rng = np.random.default_rng(0)
    centre = np.asarray(list(SARDANA.coefficients.values()))
    samples = (centre * np.exp(0.01 * rng.normal(size=(200, 5)))).tolist()
    fit = Fit("chinchilla", SARDANA.coefficients, samples=samples)
    answer = allocate_with_inference(fit, 1e12, flops=1e23)
    for name in ("params", "tokens", "loss"):
        low, high = answer.intervals[name]
        assert low < getattr(answer, name) < high


def test_an_error_model_gives_intervals_or_a_note_that_it_cannot() -> None:
    error = ForecastError(1e20, noise=0.003, form=0.004, power=1.0, doubt=0.0, quantile=2.0)
    fit = Fit(
        "chinchilla",
        SARDANA.coefficients,
        ranges={"flops": [1e18, 1e20]},
        error=error,
        split_error=error,
    )
    plain, unserved = fit.allocate(1e21), allocate_with_inference(fit, 0, flops=1e21)
    assert unserved.intervals == plain.intervals
    assert any("10 times the compute of the largest run" in note for note in unserved.notes)
    served = allocate_with_inference(fit, 1e10, flops=1e21)
    low, high = served.intervals["loss"]
    assert low < served.loss < high
    assert served.intervals["params"] is None
    assert any("no interval of params and tokens" in note for note in served.notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "exactly one"),
        ({"flops": 1e22, "target_loss": 2.0}, "exactly one"),
        ({"target_loss": 1.5}, "at no size"),
        ({"target_loss": -1.0}, "expected a positive number"),
        ({"flops": float("nan")}, "expected a positive number"),
    ],
)
def test_queries_without_an_answer_are_rejected(options: dict[str, float], words: str) -> None:
    with pytest.raises(ScalaxError, match=words):
        allocate_with_inference(SARDANA, 1e12, **options)


def test_negative_tokens_are_rejected() -> None:
    with pytest.raises(ScalaxError, match="inference-tokens"):
        allocate_with_inference(SARDANA, -1.0, flops=1e22)


def test_a_law_of_one_variable_is_rejected() -> None:
    fit = sx.Fit("power-flops", {"E": 1.0, "A": 100.0, "alpha": 0.1})
    with pytest.raises(ScalaxError, match="cannot split"):
        allocate_with_inference(fit, 1e12, flops=1e22)
