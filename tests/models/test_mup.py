"""The maximal-update parametrisation: its rules, one by one, and what they are for."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from scalax.data.text import Text
from scalax.models.compute import Compute
from scalax.models.decoder import Decoder
from scalax.models.transformer import Transformer
from scalax.shapes.base import Recipe
from scalax.train.optimizer import make_optimizer, rate_scales
from tools.coordinate_check import changes, slope

FAMILY = Transformer()
MUP = {"layers": 2, "parametrisation": "mup", "base_width": 32, "head_dim": 16}


@pytest.fixture(scope="module")
def data(corpus):
    return Text().open("text", {"files": [str(corpus)], "seq_len": 32})


def shape_of(data, width: int, **more: object):
    options = {**MUP, "width": width, **more}
    return FAMILY.shape(FAMILY.size(options, data.spec), options, data.spec)


def init(shape) -> nnx.State:
    def make() -> nnx.State:
        module = Decoder(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32))
        return nnx.state(module, nnx.Param)

    return jax.jit(make)()


def abstract(shape) -> nnx.State:
    module = nnx.eval_shape(lambda: Decoder(shape, rngs=nnx.Rngs(0), compute=Compute(jnp.float32)))
    return nnx.state(module, nnx.Param)


def test_adam_moves_hidden_matrices_by_a_share_of_the_rate_and_decays_all_alike(data) -> None:
    """Adam's first step is the sign of the gradient: the multipliers stand bare."""
    params = abstract(shape_of(data, 128))  # four times as wide as the base
    recipe = Recipe(batch=8, learning_rate=1.0, weight_decay=0.5, clip=None)
    optimizer = make_optimizer(recipe, params)
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), params)
    updates, _ = optimizer.update(ones, optimizer.init(ones), ones)
    block, decay = updates["blocks"], 0.5
    hidden = [block["attention"][name]["kernel"] for name in ("query", "key", "value", "out")]
    hidden += [block["mlp"][name]["kernel"] for name in ("up", "gate", "down")]
    for kernel in hidden:
        np.testing.assert_allclose(kernel[...], 0.25 + decay, rtol=1e-4)
    for whole in (updates["embedding"], updates["head"]["kernel"]):
        np.testing.assert_allclose(whole[...], 1.0 + decay, rtol=1e-4)
    np.testing.assert_allclose(updates["norm"]["scale"][...], 1.0, rtol=1e-4)  # no matrix


def test_the_head_starts_with_the_variance_of_the_base_and_logits_are_divided(data) -> None:
    wide = shape_of(data, 256)
    params = init(wide)
    spread = float(jnp.std(params["head"]["kernel"][...]))
    assert spread == pytest.approx(32**-0.5 * 0.88, rel=0.03)  # truncated at two deviations
    module = nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: Decoder(
        wide, rngs=nnx.Rngs(0), compute=Compute(jnp.float32)))), params)  # fmt: skip
    x = jnp.ones((1, 1, 256))
    np.testing.assert_allclose(module.logits(x), module.head(x) / 8, rtol=1e-6)


def test_scores_are_divided_by_the_width_of_a_head_and_meet_the_usual_at_the_base() -> None:
    """Scores scale as 1 / d, not 1 / sqrt(d); base width 64 has heads of width 16."""
    from scalax.shapes.transformer import TransformerShape

    plain = TransformerShape(256, 64, 2, 4, 4, 16, 128, True, True, 32)
    mup = replace(plain, base_width=64, base_head_dim=16)
    assert mup.score_scale == plain.score_scale == 0.25
    assert replace(mup, head_dim=64).score_scale == 0.25 / 4
    assert replace(plain, head_dim=64).score_scale == 0.25 / 2


def test_at_the_base_both_parametrisations_are_one(data) -> None:
    mup = shape_of(data, 64, base_width=64)
    standard = replace(mup, base_width=None, base_head_dim=None)
    assert (mup.widening, mup.score_scale) == (1, standard.score_scale)
    jax.tree.map(np.testing.assert_array_equal, init(mup), init(standard))
    assert set(jax.tree.leaves(rate_scales(abstract(mup)))) == {1.0}


def test_heads_are_as_wide_at_every_width(data) -> None:
    options = {"parametrisation": "mup", "base_width": 64}
    shapes = [FAMILY.shape(size, options, data.spec) for size in (5e4, 1e6, 2e7)]
    assert {shape.head_dim for shape in shapes} == {16}
    assert shapes[0].width < shapes[1].width < shapes[2].width


def test_the_base_rate_is_a_law_of_tokens_at_most(data) -> None:
    mup = {FAMILY.recipe(shape_of(data, w), 1e6, data.spec).learning_rate for w in (32, 64, 256)}
    assert len(mup) == 1


@pytest.mark.group
def test_activations_change_as_much_at_every_width(data) -> None:
    """Coordinate check: with muP, changes of activations do not grow with width."""
    widths, usual = [32, 128], {"layers": 1, "seeds": 4, "data": data}
    flat, steep = (changes(name, widths, 6, **usual) for name in ("mup", "standard"))
    slopes = {name: slope(widths, sizes) for name, sizes in flat.items()}
    assert all(abs(value) < 0.2 for value in slopes.values()), slopes
    steeper = {name: slope(widths, steep[name]) for name in ("attention.0", "mlp.0", "logits")}
    assert all(value > 0.4 for value in steeper.values()), steeper
