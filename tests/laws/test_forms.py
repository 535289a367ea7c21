"""Every law form: numpy and jax agree, its parts agree with each other, its split is the best."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax import registry
from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from tests.laws.truths import NAMES, coefficients, columns

SPLITTING = [n for n in NAMES if {"params", "tokens"} <= set(registry.get("law", n).columns)]
UNSIGNED = {("moe", "params"), ("moe", "params_active")}
EXTRA = {
    "data-constrained": {"unique_tokens": 3e10},
    "moe": {"sparsity": 0.875},
    "precision": {"bits_weights": 4.0, "bits_activations": 8.0, "bits_cache": 8.0},
}


def test_every_form_of_the_contract_is_known() -> None:
    contract = {
        *("power-params", "power-tokens", "power-flops", "broken-power", "m4", "bounded"),
        *("kaplan", "chinchilla", "joint", "overtraining", "data-constrained", "moe"),
        *("precision", "learning-curve"),
    }
    built_in = {e.name for e in registry.entries("law") if e.origin == "built-in"}
    assert contract <= built_in
    for name in built_in:
        law = registry.get("law", name)
        assert law.name == name
        assert law.source and law.equation and law.title


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_numpy_and_jax_agree(name: str, data: st.DataObject) -> None:
    import jax
    import jax.numpy as jnp

    law = registry.get("law", name)
    c, x = data.draw(coefficients(name)), data.draw(columns(name))
    plain = np.asarray(law.loss(np, c, x))
    with jax.enable_x64(True):
        arrays = {k: jnp.asarray(v) for k, v in x.items()}
        traced = np.asarray(jax.vmap(lambda row: law.loss(jnp, c, row))(arrays))
        assert traced.dtype == np.float64
    assert np.all(np.isfinite(plain))
    np.testing.assert_allclose(plain, traced, rtol=1e-12)


@functools.cache
def log_derivatives(name: str) -> Callable[..., Any]:
    """Value, gradient and Hessian of the log loss of one row, compiled."""
    import jax
    import jax.numpy as jnp

    law = registry.get("law", name)
    names = [c.name for c in law.coefficients]

    def log_loss(theta: Any, row: Any) -> Any:
        return jnp.log(law.loss(jnp, dict(zip(names, theta, strict=True)), row))

    def both(theta: Any, row: Any) -> Any:
        slope = jax.grad(log_loss)
        return log_loss(theta, row), slope(theta, row), jax.jacfwd(slope)(theta, row)

    return jax.jit(both)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_derivatives_by_jax_are_finite_and_match_differences(
    name: str, data: st.DataObject
) -> None:
    import jax

    c, x = data.draw(coefficients(name)), data.draw(columns(name, rows=1))
    point = np.asarray(list(c.values()))
    row = {k: float(v[0]) for k, v in x.items()}
    with jax.enable_x64(True):
        _, slope, curve = log_derivatives(name)(point, row)
        assert np.all(np.isfinite(slope)) and np.all(np.isfinite(curve))
        for k, size in enumerate(point):
            step = 1e-6 * max(abs(size), 1e-3)
            ends = [
                float(
                    log_derivatives(name)(np.where(np.arange(len(point)) == k, at, point), row)[0]
                )
                for at in (size + step, size - step)
            ]
            measured = (ends[0] - ends[1]) / (2 * step)
            assert measured == pytest.approx(float(slope[k]), rel=1e-3, abs=1e-14 / step)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_basis_and_target_reproduce_the_loss(name: str, data: st.DataObject) -> None:
    law = registry.get("law", name)
    c, x = data.draw(coefficients(name)), data.draw(columns(name))
    if name == "data-constrained":  # its basis holds where no parameter is in excess
        x["params"] = np.full_like(x["params"], 1.0)
    linear = [k.name for k in law.coefficients if k.role == "linear"]
    others = {k: v for k, v in c.items() if k not in linear}
    loss = law.loss(np, c, x)
    target = law.target(np, others, x, loss) * np.ones_like(loss)
    factors = np.stack([f * np.ones_like(loss) for f in law.basis(np, others, x)], axis=1)
    assert factors.shape == (5, len(linear))
    amounts = {k: c[k] for k in linear}
    if name == "kaplan":
        amounts["Nc"] = c["Nc"] ** (c["alpha_N"] / c["alpha_D"])
    if name == "m4":
        amounts["K"] = c["K"] ** c["gamma"]
    total = factors @ np.asarray([amounts[k] for k in linear])
    np.testing.assert_allclose(total, target, rtol=1e-6 + _rounding(name, c, loss))
    for k, v in law.untangle(others, amounts).items():
        assert v == pytest.approx(c[k], rel=1e-9)


def _rounding(name: str, c: dict[str, float], loss: np.ndarray) -> float:
    """What the loss's own rounding makes of M4's target, next to its floor or its ceiling."""
    if name != "m4":
        return 0.0
    above, below = loss - c["E"], c["E0"] - loss
    nearest = np.finfo(float).eps * np.max(loss / above + c["alpha"] * c["E0"] / below)
    return 8 * float(nearest)


@pytest.mark.parametrize(
    ("name", "column"),
    # Of a mixture of experts more params at one active size may help or harm.
    [(n, k) for n in NAMES for k in registry.get("law", n).columns if (n, k) not in UNSIGNED],
)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_loss_falls_as_a_column_grows(name: str, column: str, data: st.DataObject) -> None:
    law = registry.get("law", name)
    c, x = data.draw(coefficients(name)), data.draw(columns(name))
    more = {**x, column: x[column] * 1.5 + (0.1 if column == "lr_annealing" else 0.0)}
    assert np.all(law.loss(np, c, more) <= law.loss(np, c, x) * (1 + 1e-14))


@pytest.mark.parametrize("name", SPLITTING)
@settings(max_examples=6, deadline=None)
@given(data=st.data(), log_flops=st.floats(18, 26), exponent=st.floats(0.9, 1.1))
def test_the_split_is_the_best(
    name: str, data: st.DataObject, log_flops: float, exponent: float
) -> None:
    law = registry.get("law", name)
    c, rule = data.draw(coefficients(name)), ComputeRule(6.0, exponent)
    flops, extra = 10**log_flops, EXTRA.get(name, {})
    params, tokens = law.allocate(c, flops, rule, extra)
    x = law.complete({**extra, "params": params, "tokens": tokens})
    assert rule.flops(law.params_computed(x), tokens) == pytest.approx(flops, rel=1e-9)
    best = float(law.loss(np, c, x))
    # Brute force over nearby and far sizes, at the same budget.
    sizes = params * np.exp(np.concatenate([np.linspace(-9, 9, 801), [-1e-3, 1e-3]]))
    y = law.complete({**extra, "params": sizes, "tokens": np.ones_like(sizes)})
    y = law.complete(
        {**extra, "params": sizes, "tokens": rule.tokens(law.params_computed(y), flops)}
    )
    assert best <= float(np.min(law.loss(np, c, y))) * (1 + 1e-12)


@pytest.mark.parametrize("name", SPLITTING)
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_many_coefficients_are_split_at_once(name: str, data: st.DataObject) -> None:
    law, extra = registry.get("law", name), EXTRA.get(name, {})
    drawn = [data.draw(coefficients(name)) for _ in range(3)]
    stacked = {k: np.asarray([c[k] for c in drawn]) for k in drawn[0]}
    params, tokens = law.allocate(stacked, 1e22, ComputeRule(), extra)
    assert np.shape(params) == np.shape(tokens) == (len(drawn),)
    for row, c in enumerate(drawn):
        alone = law.allocate(c, 1e22, ComputeRule(), extra)
        assert params[row] == pytest.approx(float(alone[0]), rel=1e-6)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(SPLITTING)))
def test_a_law_of_one_variable_says_that_it_cannot_split(name: str) -> None:
    law = registry.get("law", name)
    with pytest.raises(ScalaxError, match="cannot split a budget"):
        law.allocate({}, 1e20, ComputeRule())


def test_a_loss_that_only_falls_with_size_has_no_split() -> None:
    from scalax.laws.base import Law

    form = registry.get("law", "chinchilla")
    c = {"E": 1.0, "A": 100.0, "B": 0.0, "alpha": 0.3, "beta": 0.3}
    params, tokens = Law.allocate(form, c, 1e20, ComputeRule())
    assert np.isnan(params) and np.isnan(tokens)
