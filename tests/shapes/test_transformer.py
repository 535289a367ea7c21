"""A size becomes a transformer of that size; counts and FLOPs are those of the real module."""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax.errors import ScalaxError
from scalax.models.compute import Compute
from scalax.models.decoder import Decoder, next_token_sums
from scalax.models.traced import traced_flops
from scalax.shapes.transformer import TransformerShape, counts, forward_flops, train_flops
from scalax.shapes.transformer_search import Fixed, shape_for

SHAPE = TransformerShape(
    vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, hidden=48, gated=True,
    tied=False, seq_len=16,
)  # fmt: skip
VARIANTS = [
    SHAPE,
    dataclasses.replace(SHAPE, gated=False, tied=True, kv_heads=4),
    dataclasses.replace(SHAPE, kv_heads=1, layers=3),
]


@pytest.mark.parametrize("shape", VARIANTS)
def test_counts_are_those_of_the_real_parameter_tree(shape: TransformerShape) -> None:
    module = nnx.eval_shape(lambda: Decoder(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32)))
    leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
    assert counts(shape).params == sum(math.prod(leaf.shape) for leaf in leaves)
    assert counts(shape).params_embedding == shape.vocab * shape.width


@pytest.mark.parametrize("shape", VARIANTS)
def test_flops_are_those_of_the_traced_training_step(shape: TransformerShape) -> None:
    graph, params = nnx.split(Decoder(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32)))
    batch = {"tokens": jnp.zeros((3, shape.seq_len + 1), jnp.int32), "mask": jnp.ones(3)}

    def loss(values: nnx.State) -> jax.Array:
        return next_token_sums(nnx.merge(graph, values), batch)[0]["loss"]

    tokens = 3 * shape.seq_len
    forward = traced_flops(loss, params)
    assert forward == tokens * forward_flops(shape, "full")
    both = traced_flops(jax.value_and_grad(loss), params)
    assert both == tokens * train_flops(shape, "full")


def test_causal_attention_counts_the_scores_that_the_mask_keeps() -> None:
    # 16 queries see 1 + 2 + ... + 16 = 136 keys of 256: a mean of 8.5 instead of 16 each.
    full, causal = (forward_flops(SHAPE, kind) for kind in ("full", "causal"))
    assert full - causal == 2 * 2 * SHAPE.layers * SHAPE.heads * SHAPE.head_dim * (16 - 8.5)


@given(st.floats(12e3, 1e12), st.sampled_from([1, 2]), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_size_is_met_within_a_tenth(n: float, groups: int, gated: bool, tied: bool) -> None:
    try:
        shape = shape_for(n, vocab=256, seq_len=128, gated=gated, tied=tied, kv_groups=groups)
    except ScalaxError as error:
        assert n < 3e4, error  # only the smallest sizes have gaps, and these say so
        return
    assert abs(counts(shape).params / n - 1) <= 0.1
    assert shape.heads == groups * shape.kv_heads


def test_a_vocabulary_larger_than_the_model_says_so() -> None:
    with pytest.raises(ScalaxError, match="vocabulary 50000 has about 10,000 parameters"):
        shape_for(1e4, vocab=50000, seq_len=128)


def test_depth_and_width_grow_together() -> None:
    shapes = [shape_for(n, vocab=256, seq_len=128) for n in (1e5, 1e6, 1e7, 1e8, 1e9)]
    assert all(a.width < b.width and a.layers < b.layers for a, b in itertools.pairwise(shapes))


@pytest.mark.parametrize(
    "fixed",
    [
        Fixed(width=96),
        Fixed(layers=5),
        Fixed(heads=6),
        Fixed(head_dim=24),
        Fixed(hidden=200),
        Fixed(width=112, layers=3, heads=7),
    ],
)
def test_what_is_fixed_stays_and_the_rest_meets_the_size(fixed: Fixed) -> None:
    shape = shape_for(5e5, vocab=256, seq_len=128, fixed=fixed)
    given = {name: value for name, value in vars(fixed).items() if value is not None}
    assert {name: getattr(shape, name) for name in given} == given
    assert counts(shape).params == pytest.approx(5e5, rel=0.1)
    assert shape.heads * shape.head_dim == shape.width


@given(st.integers(1, 32), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_size_of_a_given_width_and_depth_is_met_exactly(eighths: int, layers: int) -> None:
    fixed = Fixed(width=8 * eighths, layers=layers)
    fixed_shape = shape_for(None, vocab=256, seq_len=128, fixed=fixed)
    assert shape_for(counts(fixed_shape).params, vocab=256, seq_len=128, fixed=fixed) == fixed_shape
