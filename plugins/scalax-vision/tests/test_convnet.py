"""The family: layers, counts, FLOPs, sizes, sums and errors, each against the real module."""

from __future__ import annotations

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from scalax_vision.convnet import ConvNet

import scalax as sx

FAMILY = ConvNet()


def images(height: int, width: int, channels: int = 1, classes: int = 10) -> sx.DataSpec:
    return sx.DataSpec(
        name="images",
        unit="examples",
        units_per_example=1,
        features={
            "image": sx.Feature((height, width, channels), "float32"),
            "label": sx.Feature((), "int32"),
        },
        classes=classes,
        train_examples=1000,
        eval_examples=100,
        fingerprint="none",
    )


MNIST, DIGITS = images(28, 28), images(8, 8)
CASES = [(8600, MNIST), (50_000, MNIST), (3000, DIGITS), (40_000, DIGITS), (2e5, images(32, 25, 3))]


@functools.cache
def module_of(shape):
    with placed():
        return FAMILY.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.float32))


def abstract_of(shape):
    """The module without its values: what needs no compiler."""
    with placed():
        return nnx.eval_shape(
            lambda: FAMILY.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.float32))
        )


@contextlib.contextmanager
def placed():
    """The mesh and axis names that named parameters are created under, as the trainer does."""
    axes = ("data", "fsdp", "tensor", "expert")
    mesh = jax.make_mesh((1,) * 4, axes, axis_types=(AxisType.Auto,) * 4, devices=jax.devices()[:1])
    with jax.set_mesh(mesh), nnx.logical_axis_rules(tuple(FAMILY.rules.items())):
        yield


def batch_of(data: sx.DataSpec, examples: int):
    rng = np.random.default_rng(0)
    return {
        "image": rng.random((examples, *data.features["image"].shape), np.float32),
        "label": rng.integers(0, data.classes, examples).astype(np.int32),
        "mask": np.ones(examples, np.float32),
    }


def test_smallest_member_is_the_classic_mnist_net() -> None:
    shape = FAMILY.shape(8600, {}, MNIST)
    parameters = nnx.state(abstract_of(shape), nnx.Param)
    assert {name: layer["kernel"].get_value().shape for name, layer in parameters.items()} == {
        "first": (5, 5, 1, 10),
        "second": (5, 5, 10, 20),
        "hidden": (4 * 4 * 20, 10),
        "head": (10, 10),
    }
    # by hand: (25 + 1) 10 + (250 + 1) 20 + (320 + 1) 10 + (10 + 1) 10
    assert FAMILY.counts(shape).params == 260 + 5020 + 3210 + 110 == 8600
    # 24x24 and 8x8 places of the kernels, and both linear layers
    products = 24 * 24 * 25 * 10, 8 * 8 * 250 * 20, 320 * 10, 10 * 10
    assert FAMILY.flops_per_unit(shape) == 2 * (2 * products[0] + 3 * sum(products[1:]))


def test_the_net_computes_what_its_layers_say() -> None:
    module = module_of(FAMILY.shape(8600, {}, MNIST))
    x = batch_of(MNIST, 2)["image"]
    want = x
    for layer in (module.first, module.second):
        kernel = np.asarray(layer.kernel[...])
        side = want.shape[1] - 4
        out = np.zeros((2, side, side, kernel.shape[-1]), np.float32)
        for i in range(5):
            for j in range(5):
                out += want[:, i : i + side, j : j + side] @ kernel[i, j]
        out = np.maximum(out, 0).reshape(2, side // 2, 2, side // 2, 2, -1)
        want = out.max(axis=(2, 4))
    want = np.maximum(want.reshape(2, -1) @ np.asarray(module.hidden.kernel[...]), 0)
    want = want @ np.asarray(module.head.kernel[...])
    np.testing.assert_allclose(module(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("params", "data"), CASES)
def test_counts_equal_the_parameter_tree(params: float, data: sx.DataSpec) -> None:
    shape = FAMILY.shape(params, {}, data)
    leaves = jax.tree.leaves(nnx.state(abstract_of(shape), nnx.Param))
    assert FAMILY.counts(shape).params == sum(leaf.size for leaf in leaves)


@pytest.mark.parametrize(("params", "data"), CASES)
def test_flops_equal_the_traced_gradient(params: float, data: sx.DataSpec) -> None:
    shape = FAMILY.shape(params, {}, data)
    graph, weights = nnx.split(abstract_of(shape))
    batch = batch_of(data, 3)

    def loss(weights):
        return FAMILY.sums(nnx.merge(graph, weights), batch)[0]["loss"]

    traced = sx.traced_flops(jax.grad(loss), weights)
    assert traced == 3 * FAMILY.flops_per_unit(shape)


@pytest.mark.parametrize("data", [MNIST, DIGITS, images(16, 16), images(4, 4), images(32, 32, 3)])
def test_any_size_from_the_smallest_on_is_met_within_a_tenth(data: sx.DataSpec) -> None:
    smallest = FAMILY.counts(FAMILY.shape(1e4, {}, data)).params
    for target in np.geomspace(smallest, 1e8, 300):
        assert abs(FAMILY.counts(FAMILY.shape(target, {}, data)).params / target - 1) <= 0.1


def test_sums_leave_out_what_the_mask_leaves_out() -> None:
    module = module_of(FAMILY.shape(8600, {}, MNIST))
    batch = batch_of(MNIST, 6)
    score = jax.jit(lambda batch: FAMILY.sums(module, batch))
    sums, weight = score(batch | {"mask": np.float32([1, 1, 1, 1, 0, 0])})
    four, _ = score({name: values[:4] for name, values in batch.items()})
    assert float(weight) == 4
    assert float(sums["accuracy"] + sums["error_rate"]) == 4
    for name, value in four.items():
        assert float(sums[name]) == pytest.approx(float(value))


def test_the_recipe_on_mnist_is_the_classic_one() -> None:
    recipe = FAMILY.recipe(FAMILY.shape(8600, {}, MNIST), 600_000, MNIST)
    assert (recipe.optimizer, recipe.learning_rate, recipe.beta1) == ("sgd", 0.001, 0.9)
    assert (recipe.batch, recipe.weight_decay, recipe.clip, recipe.warmup) == (100, 0, None, 0)


@pytest.mark.parametrize(
    ("params", "options", "data", "says"),
    [
        (5000, {}, MNIST, "the smallest has 8,600 — ask for 8600 or more"),
        (8600, {"depth": 3}, MNIST, "model.depth: unknown key"),
        (8600, {}, images(3, 28), "images of 3 x 28 are too small"),
    ],
)
def test_what_has_no_shape_says_why(params, options, data, says: str) -> None:
    with pytest.raises(sx.ScalaxError, match=says):
        FAMILY.shape(params, options, data)


def test_data_without_images_is_refused() -> None:
    text = sx.DataSpec("text", "tokens", 8, {"tokens": sx.Feature((9,), "int32")}, 256, 9, 9, "x")
    with pytest.raises(sx.ScalaxError, match=r"needs data with features 'image'.*text has tokens"):
        FAMILY.shape(8600, {}, text)
