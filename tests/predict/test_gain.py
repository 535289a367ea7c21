"""The compute multiplier between two laws: a known answer, its symmetry, its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax.errors import ScalaxError
from scalax.fit.gain import gain
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError

BASE = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.34, "beta": 0.28}


def better(times: float) -> dict[str, float]:
    """The law whose every loss is that of BASE at so many times the compute."""
    # Scale params by s^(beta / (alpha + beta)) and tokens by the rest: both stay on the frontier.
    alpha, beta = BASE["alpha"], BASE["beta"]
    on_params, on_tokens = beta / (alpha + beta), alpha / (alpha + beta)
    return {
        **BASE,
        "A": BASE["A"] * times ** (-alpha * on_params),
        "B": BASE["B"] * times ** (-beta * on_tokens),
    }


@settings(max_examples=20, deadline=None)
@given(times=st.floats(0.1, 50.0), log_flops=st.floats(18, 26))
def test_a_recipe_worth_so_many_times_the_compute_is_found_to_be(
    times: float, log_flops: float
) -> None:
    a, b = Fit("chinchilla", BASE), Fit("chinchilla", better(times))
    found = gain(a, b, 10**log_flops)
    assert found.multiplier == pytest.approx(times, rel=1e-6)
    assert found.flops_needed == pytest.approx(times * 10**log_flops, rel=1e-6)
    back = gain(b, a, found.flops_needed)
    assert back.multiplier == pytest.approx(1 / times, rel=1e-6)


def test_forms_may_differ_and_a_law_of_compute_alone_will_do() -> None:
    a = Fit("power-flops", {"E": 1.0, "A": 1000.0, "alpha": 0.15})
    b = Fit("power-flops", {"E": 1.0, "A": 1000.0 * 3.0**-0.15, "alpha": 0.15})
    assert gain(a, b, 1e21).multiplier == pytest.approx(3.0, rel=1e-9)
    mixed = gain(Fit("chinchilla", BASE), a, 1e21)
    assert mixed.loss == pytest.approx(1.0 + 1000.0 * 1e21**-0.15)


def test_a_floor_that_is_too_high_is_never_crossed() -> None:
    found = gain(Fit("chinchilla", {**BASE, "E": 2.5}), Fit("chinchilla", BASE), 1e23)
    assert found.multiplier is None and found.flops_needed is None
    assert any("never" in note for note in found.notes)
    assert found.loss < 2.5 < found.loss_a


def test_samples_give_an_interval_around_the_truth() -> None:
    rng = np.random.default_rng(0)

    def noisy(c: dict[str, float]) -> Fit:
        rows = np.asarray(list(c.values())) * np.exp(0.003 * rng.normal(size=(300, 5)))
        return Fit("chinchilla", c, samples=rows.tolist(), ranges={"flops": [1e17, 1e20]})

    found = gain(noisy(BASE), noisy(better(4.0)), 1e21)
    assert found.low is not None and found.high is not None
    assert found.low < 4.0 < found.high
    assert any("10 times the compute of A" in note for note in found.notes)
    bare = gain(Fit("chinchilla", BASE), noisy(BASE), 1e21)
    assert bare.low is None and any("no interval: A has neither" in n for n in bare.notes)
    one = noisy(BASE)
    itself = gain(one, one, 1e21)  # resamples by one seed, yet not paired row by row
    assert itself.low < 0.99 < 1.01 < itself.high


def test_errors_of_forecasts_add_in_squares() -> None:
    # On the frontier L = E + k C^-g, so the compute at a loss follows from the loss alone.
    error = ForecastError(1e22, noise=0.01, form=0.0, power=1.0, doubt=0.0, quantile=2.0)
    fit = Fit("power-flops", {"E": 1e-9, "A": 1000.0, "alpha": 0.15}, error=error)
    found = gain(fit, fit, 1e21)
    miss = np.sqrt(2) * 0.02
    assert found.low == pytest.approx(np.exp(-miss / 0.15), rel=1e-6)
    assert found.high == pytest.approx(np.exp(miss / 0.15), rel=1e-6)
    samples = [[1e-9, 1000.0, 0.15]] * 10
    exact = Fit("power-flops", fit.coefficients, samples=samples)
    assert gain(exact, fit, 1e21).high == pytest.approx(np.exp(0.02 / 0.15), rel=1e-6)


def test_a_law_without_a_frontier_is_refused() -> None:
    with pytest.raises(ScalaxError, match="cannot split"):
        gain(
            Fit("power-params", {"E": 1.0, "A": 1.0, "alpha": 0.1}),
            Fit("chinchilla", BASE),
            1e21,
        )


@pytest.mark.parametrize("flops", [0.0, -1.0, float("inf")])
def test_a_budget_must_be_positive(flops: float) -> None:
    with pytest.raises(ScalaxError, match="expected a positive number"):
        gain(Fit("chinchilla", BASE), Fit("chinchilla", BASE), flops)
