"""Where one law form becomes another, or takes a value that its paper derives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from scalax import registry
from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from tests.laws.truths import coefficients, columns

N, D = np.array([1e8, 1e9, 1e10]), np.array([1e10, 2e10, 3e12])
X = {"params": N, "tokens": D}


def loss(name: str, c: dict[str, float], x: dict[str, object]) -> np.ndarray:
    return np.asarray(registry.get("law", name).loss(np, c, x))


@settings(max_examples=10, deadline=None)
@given(coefficients("chinchilla"))
def test_joint_of_exponent_one_is_chinchilla(c: dict[str, float]) -> None:
    np.testing.assert_allclose(
        loss("joint", {**c, "gamma": 1.0}, X), loss("chinchilla", c, X), rtol=1e-13
    )


@settings(max_examples=10, deadline=None)
@given(coefficients("kaplan"))
def test_kaplan_with_endless_data_is_a_power_law_in_params(c: dict[str, float]) -> None:
    alone = loss("kaplan", c, {"params": N, "tokens": 1e60})
    np.testing.assert_allclose(alone, (c["Nc"] / N) ** c["alpha_N"], rtol=1e-9)


@settings(max_examples=10, deadline=None)
@given(coefficients("overtraining"))
def test_overtraining_is_the_equation_of_the_paper(c: dict[str, float]) -> None:
    flops, ratio = 6 * N * D, D / N
    written = (
        c["E"] + (c["a"] * ratio ** c["eta"] + c["b"] * ratio ** -c["eta"]) * flops ** -c["eta"]
    )
    np.testing.assert_allclose(loss("overtraining", c, X), written, rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(coefficients("data-constrained"))
def test_repeats_that_never_fade_are_chinchilla(c: dict[str, float]) -> None:
    c = {**c, "R_D": 1e12, "R_N": 1e12}
    plain = {k: c[k] for k in ("E", "A", "B", "alpha", "beta")}
    np.testing.assert_allclose(
        loss("data-constrained", c, {**X, "unique_tokens": 1e9}),
        loss("chinchilla", plain, X),
        rtol=1e-6,
    )


@settings(max_examples=10, deadline=None)
@given(coefficients("data-constrained"))
def test_repeated_data_is_worth_at_most_its_limit(c: dict[str, float]) -> None:
    # Section 3.1: endless repeats of U tokens equal U (1 + R_D) new ones. The model is so small
    # that none of its parameters is in excess.
    endless = loss("data-constrained", c, {"params": 1.0, "tokens": 1e22, "unique_tokens": 1e10})
    once = 1e10 * (1 + c["R_D"])
    fresh = loss("data-constrained", c, {"params": 1.0, "tokens": once, "unique_tokens": once})
    assert endless == pytest.approx(fresh, rel=1e-12)


@settings(max_examples=10, deadline=None)
@given(coefficients("precision"))
def test_many_bits_are_chinchilla_and_no_bits_no_parameters(c: dict[str, float]) -> None:
    bits = dict.fromkeys(("bits_weights", "bits_activations", "bits_cache"), 1e4)
    plain = {k: c[k] for k in ("E", "A", "B", "alpha", "beta")}
    np.testing.assert_allclose(
        loss("precision", c, {**X, **bits}), loss("chinchilla", plain, X), rtol=1e-12
    )
    bits["bits_weights"] = c["gamma_w"] * np.log(2)  # half of the parameters count
    np.testing.assert_allclose(
        loss("precision", c, {**X, **bits}),
        loss("chinchilla", plain, {"params": N / 2, "tokens": D}),
        rtol=1e-12,
    )


@settings(max_examples=20, deadline=None)
@given(coefficients("m4"), columns("m4"))
def test_m4_solves_its_equation(c: dict[str, float], x: dict[str, np.ndarray]) -> None:
    at = loss("m4", c, x)
    # Closer to an end than this, E0 - L keeps too few digits to be put back into the equation.
    fine = np.minimum(at - c["E"], c["E0"] - at) > 1e-6 * (c["E0"] - c["E"])
    left = np.log(at[fine] - c["E"]) - c["alpha"] * np.log(c["E0"] - at[fine])
    right = c["gamma"] * np.log(c["K"] / x["flops"][fine])
    scale = (1 - c["alpha"]) * np.log(c["E0"] - c["E"])
    np.testing.assert_allclose(left, scale + right, rtol=1e-7, atol=1e-8)


def test_m4_keeps_between_its_ends_at_any_compute() -> None:
    c = {"E": 1.0, "E0": 9.0, "K": 1e15, "alpha": 0.01, "gamma": 0.3}
    at = loss("m4", c, {"flops": 10.0 ** np.arange(-30, 60, 3)})
    assert np.all(np.diff(at) <= 0) and at[0] <= 9.0 and at[-1] == pytest.approx(1.0)


@settings(max_examples=10, deadline=None)
@given(coefficients("broken-power"))
def test_the_broken_power_law_has_its_slopes_far_from_the_knee(c: dict[str, float]) -> None:
    def slope(at: float) -> float:
        pair = loss("broken-power", {**c, "E": 0.0}, {"flops": np.array([at, at * 10])})
        return float(-np.diff(np.log10(pair))[0])

    assert slope(c["K"] * 1e-30) == pytest.approx(c["alpha"], abs=1e-6)
    assert slope(c["K"] * 1e30) == pytest.approx(c["alpha"] + c["turn"], abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(coefficients("bounded"))
def test_an_error_rate_stays_between_its_ends(c: dict[str, float]) -> None:
    error = loss("bounded", c, {"flops": 10.0 ** np.arange(-20, 60)})
    assert np.all((error >= c["E"] * (1 - 1e-12)) & (error <= c["H"] * (1 + 1e-12)))
    accuracy = loss("bounded", {**c, "E": 1 - c["E"], "H": 1 - c["H"]}, {"flops": 1e20})
    assert accuracy == pytest.approx(1 - loss("bounded", c, {"flops": 1e20}), rel=1e-12)


def test_more_sparsity_takes_more_parameters_in_all() -> None:
    # Abnar et al. 2025, section 3: total params of the optimum rise with sparsity, active ones
    # fall. Coefficients are of our choosing, of the signs that they report.
    law = registry.get("law", "moe")
    c = {"e": 0.9, "a": 1000.0, "b": 5000.0, "c": 0.4, "d": 10.0}
    c |= {"alpha": 0.4, "beta": 0.4, "lam": -0.2, "delta": 0.1, "gamma": 0.15}
    dense, _ = law.allocate(c, 1e21, ComputeRule(), {"sparsity": 0.0})
    sparse, _ = law.allocate(c, 1e21, ComputeRule(), {"sparsity": 0.9})
    assert sparse > dense and sparse * 0.1 < dense


def test_a_sparsity_that_is_no_share_is_refused() -> None:
    law = registry.get("law", "moe")
    with pytest.raises(ScalaxError, match="sparsity: expected at least 0 and below 1"):
        law.complete({"params": 1e9, "tokens": 1e9, "sparsity": 1.0})


def test_a_column_that_a_law_reads_is_demanded() -> None:
    law = registry.get("law", "learning-curve")
    with pytest.raises(ScalaxError, match="also needs lr_area"):
        law.complete({"params": 1e9, "tokens": 1e9})
