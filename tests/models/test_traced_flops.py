"""The public count of a traced program, against XLA's own analysis and against counts by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scalax as sx


def by_xla(function, *args) -> float:
    return jax.jit(function).lower(*args).compile().cost_analysis()["flops"]


def convolve(x, kernel, *, stride=1, padding="SAME", groups=1, dilation=1):
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,) * (x.ndim - 2), padding, rhs_dilation=(dilation,) * (x.ndim - 2),
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if x.ndim == 4 else ("NWC", "WIO", "NWC"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("image", "kernel", "how"),
    [
        ((2, 9, 8, 3), (3, 3, 3, 4), {}),
        ((2, 9, 8, 3), (3, 3, 3, 4), {"padding": "VALID", "stride": 2}),
        ((2, 9, 8, 4), (3, 3, 1, 4), {"groups": 4}),
        ((2, 9, 8, 4), (3, 3, 2, 6), {"groups": 2, "dilation": 2}),
        ((2, 20, 4), (5, 4, 6), {"stride": 2}),
        ((2, 20, 4), (5, 1, 4), {"groups": 4}),
    ],
)
def test_a_convolution_counts_as_xla_counts_it(image, kernel, how) -> None:
    x, w = jnp.ones(image), jnp.ones(kernel)
    ours = sx.traced_flops(lambda x, w: convolve(x, w, **how), x, w)
    assert ours == by_xla(lambda x, w: convolve(x, w, **how), x, w)


def test_both_gradients_of_a_convolution_cost_what_it_costs() -> None:
    x, w = jnp.ones((2, 9, 8, 3)), jnp.ones((3, 3, 3, 4))
    once = sx.traced_flops(convolve, x, w)
    both = jax.value_and_grad(lambda x, w: convolve(x, w).sum(), argnums=(0, 1))
    assert sx.traced_flops(both, x, w) == 3 * once


def test_products_are_counted_inside_whatever_holds_them() -> None:
    x, w = jnp.ones((4, 8)), jnp.ones((8, 8))
    once = 2 * 4 * 8 * 8

    def scanned(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=5)[0]

    def branched(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

    assert sx.traced_flops(jax.jit(scanned), x, w) == 5 * once
    assert sx.traced_flops(branched, x, w) == 2 * once
    again = jax.grad(jax.checkpoint(lambda x, w: jnp.sin(x @ w).sum()), argnums=(0, 1))
    assert sx.traced_flops(again, x, w) == 4 * once  # forward, again, and both gradients
    assert sx.traced_flops(lambda x, w: x + w[:4], x, w) == 0


def test_each_row_meets_the_matrix_of_its_own_group() -> None:
    x, w, sizes = jnp.ones((6, 4)), jnp.ones((3, 4, 5)), np.array([1, 2, 3])
    once = 2 * 6 * 4 * 5
    assert sx.traced_flops(lambda x, w: jax.lax.ragged_dot(x, w, sizes), x, w) == once
    both = jax.value_and_grad(lambda x, w: jax.lax.ragged_dot(x, w, sizes).sum(), argnums=(0, 1))
    assert sx.traced_flops(both, x, w) == 3 * once
