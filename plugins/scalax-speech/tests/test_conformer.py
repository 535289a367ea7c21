"""Tests of the family: layers against NumPy, counts, FLOPs, sizes and errors."""

from __future__ import annotations

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from scalax_speech import module as layers
from scalax_speech.conformer import Conformer

import scalax as sx

FAMILY = Conformer()


def sounds(frames: int = 98, mels: int = 40, classes: int = 35) -> sx.DataSpec:
    return sx.DataSpec(
        name="sounds",
        unit="examples",
        units_per_example=1,
        features={
            "features": sx.Feature((frames, mels), "float32"),
            "label": sx.Feature((), "int32"),
        },
        classes=classes,
        train_examples=100,
        eval_examples=10,
        fingerprint="none",
    )


SHORT = sounds(frames=27, mels=6, classes=5)


@contextlib.contextmanager
def placed():
    axes = ("data", "fsdp", "tensor", "expert")
    mesh = jax.make_mesh((1,) * 4, axes, axis_types=(AxisType.Auto,) * 4, devices=jax.devices()[:1])
    with jax.set_mesh(mesh), nnx.logical_axis_rules(tuple(FAMILY.rules.items())):
        yield


def batch_of(data: sx.DataSpec, examples: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (examples, *data.features["features"].shape)
    return {
        "features": rng.standard_normal(shape).astype(np.float32),
        "label": rng.integers(0, data.classes, examples).astype(np.int32),
        "mask": np.ones(examples, np.float32),
    }


def swish(x):
    return x / (1 + np.exp(-x))


def normed(x, norm):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6) * np.asarray(norm.scale[...])


def kernel(matrix) -> np.ndarray:
    return np.asarray(matrix.kernel[...])


def test_a_block_agrees_with_plain_loops() -> None:
    """Computes one example step by step, as the paper describes a block."""
    shape = dataclasses.replace(FAMILY.shape(2e4, {"layers": 1, "kernel": 5}, SHORT), heads=2)
    block = layers.Block(shape, nnx.Rngs(1), dtype=jnp.float32)
    steps, width, head = shape.steps, shape.width, shape.width // 2
    x = np.random.default_rng(2).standard_normal((steps, width)).astype(np.float32)

    def feed_forward(x, part):
        return swish(normed(x, part.norm) @ kernel(part.up)) @ kernel(part.down)

    def attend(x, part):
        y, out = normed(x, part.norm), np.zeros_like(x)
        rates = 10_000.0 ** (-np.arange(head // 2) / (head // 2))
        for h in range(2):
            q, k, v = (y @ kernel(m)[:, h] for m in (part.query, part.key, part.value))

            def rotated(vector, position):  # as complex numbers
                pairs = vector[: head // 2] + 1j * vector[head // 2 :]
                return pairs * np.exp(1j * position * rates)

            for t in range(steps):
                scores = np.array(
                    [
                        np.vdot(rotated(k[s], s), rotated(q[t], t)).real / np.sqrt(head)
                        for s in range(steps)
                    ]
                )
                weights = np.exp(scores - scores.max())
                out[t] += (weights / weights.sum()) @ v @ kernel(part.out)[h]
        return out

    def convolve(x, part):
        y = normed(x, part.norm)
        y = (y @ kernel(part.value)) / (1 + np.exp(-(y @ kernel(part.gate))))
        weights = np.asarray(part.depthwise[...])
        mixed = np.zeros_like(y)
        for t in range(steps):
            for k in range(5):
                if 0 <= t + k - 2 < steps:
                    mixed[t] += weights[k] * y[t + k - 2]
        return swish(normed(mixed, part.inner_norm)) @ kernel(part.out)

    want = x + feed_forward(x, block.before) / 2
    want = want + attend(want, block.attention)
    want = want + convolve(want, block.convolution)
    want = normed(want + feed_forward(want, block.after) / 2, block.norm)
    actual = jax.jit(lambda x: block(x))(x[None])
    np.testing.assert_allclose(actual[0], want, rtol=1e-3, atol=1e-4)


def test_strided_convolutions_agree_with_xla() -> None:
    layer = layers.Strided(nnx.Rngs(0), 6, 8, dtype=jnp.float32)
    for frames in (7, 8, 27):
        x = np.random.default_rng(frames).standard_normal((2, frames, 6)).astype(np.float32)
        want = jax.lax.conv_general_dilated(
            x, layer.kernel[...], (2,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )
        np.testing.assert_allclose(layer(x), jax.nn.silu(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "options", "data"),
    [(2e4, {}, sounds()), (3e5, {"kernel": 31}, sounds(classes=12)), (1e5, {"layers": 1}, SHORT)],
)
def test_counts_and_flops_equal_those_of_the_module(params, options, data) -> None:
    shape = FAMILY.shape(params, options, data)
    with placed():
        module = nnx.eval_shape(
            lambda: FAMILY.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.float32))
        )
    graph, weights = nnx.split(module)
    assert FAMILY.counts(shape).params == sum(leaf.size for leaf in jax.tree.leaves(weights))

    def loss(weights):
        return FAMILY.sums(nnx.merge(graph, weights), batch_of(data, 3))[0]["loss"]

    assert sx.traced_flops(jax.grad(loss), weights) == 3 * FAMILY.flops_per_unit(shape)


def test_sizes_from_ten_thousand_to_a_billion_are_met_within_ten_percent() -> None:
    for data in (sounds(), sounds(classes=12)):
        for target in np.geomspace(1e4, 1e9, 60):
            params = FAMILY.counts(FAMILY.shape(target, {}, data)).params
            assert abs(params / target - 1) <= 0.1, target


@pytest.mark.parametrize(
    ("params", "options", "data", "message"),
    [
        (1000, {}, sounds(), r"no conformer has about 1,000 parameters.*ask for \d+"),
        (1e5, {"kernel": 8}, sounds(), r"model\.kernel: expected an odd number"),
        (1e5, {"depth": 3}, sounds(), r"model\.depth: unknown key"),
        (1e5, {}, sounds(frames=6), r"too few frames.*expected 7 or more, got 6"),
    ],
)
def test_impossible_shapes_raise(params, options, data, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        FAMILY.shape(params, options, data)


def test_data_without_features_raises() -> None:
    text = sx.DataSpec("text", "tokens", 8, {"tokens": sx.Feature((9,), "int32")}, 256, 9, 9, "x")
    with pytest.raises(sx.ScalaxError, match=r"needs data with features 'features'.*text has"):
        FAMILY.shape(1e5, {}, text)
    numbers = {"features": sx.Feature((98,), "float32"), "label": sx.Feature((), "int32")}
    flat = sx.DataSpec("flat", "examples", 1, numbers, 9, 9, 9, "x")
    with pytest.raises(sx.ScalaxError, match=r"'features' of flat \(expected .*, got \[98\]\)"):
        FAMILY.shape(1e5, {}, flat)
