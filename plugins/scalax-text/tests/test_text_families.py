"""Tests of the families: attention against NumPy, padding, causality, counts, FLOPs and errors."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scalax_text.encoder import Encoder
from scalax_text.encoder_decoder import EncoderDecoder
from scalax_text.encoder_decoder_module import translate
from scalax_text.encoding import BYTES, END, PAD, encode
from scalax_text.layers import FullAttention

import scalax as sx

FLOAT = sx.Compute(jnp.float32)


def spec(features: dict[str, sx.Feature], classes: int) -> sx.DataSpec:
    return sx.DataSpec("texts", "examples", 1, features, classes, 100, 10, "none")


LABELLED = spec({"text": sx.Feature((12,), "int32"), "label": sx.Feature((), "int32")}, 7)
PAIRS = spec(
    {"source": sx.Feature((12,), "int32"), "target": sx.Feature((10,), "int32")}, BYTES + 3
)


def rows(texts: list[str], length: int, **kind: Any) -> np.ndarray:
    return np.stack([encode(text.encode(), length, **kind) for text in texts])


def labelled() -> dict[str, np.ndarray]:
    text = rows(["ab", "hello", "twelve chars", "x"], 12)
    return {"text": text, "label": np.arange(4, dtype=np.int32), "mask": np.ones(4, np.float32)}


def pairs() -> dict[str, np.ndarray]:
    source = rows(["ab", "hello", "eleven char", "x"], 12, tag=BYTES + 1)
    target = rows(["yes", "a", "nine byte", "gone"], 10, end=True)
    return {"source": source, "target": target, "mask": np.ones(4, np.float32)}


CASES = [
    (Encoder(), LABELLED, labelled, {}),
    (Encoder(), LABELLED, labelled, {"width": 24, "layers": 3}),
    (EncoderDecoder(), PAIRS, pairs, {}),
    (EncoderDecoder(), PAIRS, pairs, {"width": 16, "layers": 2}),
]


def built(family: Any, data: sx.DataSpec, options: dict[str, int]) -> tuple[Any, Any]:
    params = family.size(options, data) or 3e4
    shape = family.shape(params, options, data)
    return shape, lambda: family.build(shape, rngs=nnx.Rngs(0), compute=FLOAT)


@functools.cache
def translator() -> Any:
    return nnx.jit(built(EncoderDecoder(), PAIRS, {"width": 16, "layers": 1})[1])()


@nnx.jit
def hidden(module: Any, source: Any, target: Any) -> Any:
    return module.hidden(source, target)


@nnx.jit
def logits(module: Any, source: Any, target: Any) -> Any:
    return module.logits(module.hidden(source, target))


@pytest.mark.parametrize(("family", "data", "batch", "options"), CASES)
def test_counts_and_flops_equal_those_of_the_module(family, data, batch, options) -> None:
    shape, make = built(family, data, options)
    graph, params = nnx.split(nnx.eval_shape(make))
    actual = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert actual == family.counts(shape).params
    if options:
        assert actual == family.size(options, data)

    def loss(params: Any) -> Any:
        return family.sums(nnx.merge(graph, params), batch())[0]["loss"]

    assert sx.traced_flops(jax.grad(loss), params) == 4 * family.flops_computed(shape)
    masked = family.flops_computed(shape) - family.flops_per_unit(shape)
    s = shape.dense  # the decoder masks the scores and mixing of 10 x 9 / 2 = 45 pairs
    causal = 0 if family.name == "encoder" else 3 * s.layers * 4 * s.heads * s.head_dim * 45
    assert masked == causal


def test_attention_is_a_softmax_over_positions_that_are_not_padding() -> None:
    s = sx.transformer_shape(
        None, vocab=8, seq_len=4, gated=False, fixed=sx.FixedShape(width=16, layers=1, heads=2)
    )
    attention = FullAttention(s, nnx.Rngs(1), dtype=jnp.float32)
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 3, 16)), rng.normal(size=(2, 5, 16))
    real = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)
    actual = attention(jnp.float32(x), jnp.float32(memory), jnp.asarray(real))
    q, k, v, out = (
        np.asarray(part.kernel[...], np.float64)
        for part in (attention.query, attention.key, attention.value, attention.out)
    )
    want = np.zeros((2, 3, 16))
    for b in range(2):
        seen = memory[b][real[b]]
        for h in range(2):
            scores = (x[b] @ q[:, h]) @ (seen @ k[:, h]).T / math.sqrt(8)
            shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            want[b] += shares @ (seen @ v[:, h]) @ out[h]
    np.testing.assert_allclose(actual, want, rtol=1e-4, atol=1e-5)


def test_logits_depend_on_order_and_not_on_padding() -> None:
    _, make = built(Encoder(), LABELLED, {"width": 16, "layers": 1})
    module, read = nnx.jit(make)(), nnx.jit(lambda module, text: module(text))
    one = read(module, rows(["ab", "ba"], 12))
    module.encoder.positions = nnx.Param(module.encoder.positions[...][:2])
    np.testing.assert_allclose(read(module, rows(["ab", "ba"], 2)), one, rtol=1e-4, atol=1e-5)
    assert not np.allclose(one[0], one[1], atol=1e-4)


def test_bytes_are_predicted_from_earlier_ones_and_the_whole_source() -> None:
    module, batch = translator(), pairs()
    plain = hidden(module, batch["source"], batch["target"])
    later = batch["target"].copy()
    later[:, 5:] = 77
    np.testing.assert_allclose(
        hidden(module, batch["source"], later)[:, :6], plain[:, :6], rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(hidden(module, batch["source"], later)[:, 6:], plain[:, 6:], atol=1e-3)
    other = batch["source"].copy()
    other[2, 11] = 99  # the last byte of the longest source
    change = np.abs(np.asarray(hidden(module, other, batch["target"]) - plain)).max(axis=(1, 2))
    assert (change > 1e-6).tolist() == [False, False, True, False]


def test_the_loss_is_over_bytes_and_ends_only() -> None:
    module, batch = translator(), pairs()
    sums, weight = nnx.jit(EncoderDecoder().sums)(module, batch)
    assert float(weight) == (3 + 1) + (1 + 1) + (9 + 1) + (4 + 1)
    values = np.asarray(logits(module, batch["source"], batch["target"]), np.float64)
    nats = np.log(np.exp(values).sum(-1))
    nats -= np.take_along_axis(values, batch["target"][..., None], -1)[..., 0]
    assert float(sums["loss"]) == pytest.approx(nats[batch["target"] != PAD].sum(), rel=1e-4)
    assert float(sums["accuracy"] + sums["error_rate"]) == float(weight)


def test_a_translation_has_the_most_likely_byte_at_each_position() -> None:
    module, source = translator(), pairs()["source"]
    translation = translate(module, source, 10)
    likeliest = np.argmax(logits(module, source, translation), axis=-1)
    for row, best in zip(translation, likeliest, strict=True):
        ends = np.flatnonzero(row == END)
        stop = ends[0] + 1 if len(ends) else 10
        assert (row[:stop] == best[:stop]).all()
        assert (row[stop:] == PAD).all()


@pytest.mark.parametrize(
    ("family", "data", "options", "message"),
    [
        (Encoder(), PAIRS, {}, "needs data with features 'text' and 'label'; texts has source"),
        (EncoderDecoder(), LABELLED, {}, "needs data with features 'source' and 'target'"),
        (Encoder(), LABELLED, {"depth": 3}, r"model\.depth: unknown key"),
        (Encoder(), LABELLED, {"width": 512}, "no encoder with width 512 has about 30,000"),
        (EncoderDecoder(), PAIRS, {"layers": 90}, "no encoder-decoder with layers 90"),
    ],
)
def test_impossible_shapes_raise(family, data, options, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        family.shape(3e4, options, data)
