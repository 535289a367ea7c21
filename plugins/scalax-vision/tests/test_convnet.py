"""Tests of the convolutional family: its layers against NumPy, and its classic recipe."""

from __future__ import annotations

import numpy as np
from flax import nnx
from vision_cases import CONVNET, MNIST, abstract_of, answers, batch_of, module_of


def test_smallest_member_is_the_classic_mnist_net() -> None:
    shape = CONVNET.shape(8600, {}, MNIST)
    parameters = nnx.state(abstract_of(CONVNET, shape), nnx.Param)
    assert {name: layer["kernel"].get_value().shape for name, layer in parameters.items()} == {
        "first": (5, 5, 1, 10),
        "second": (5, 5, 10, 20),
        "hidden": (4 * 4 * 20, 10),
        "head": (10, 10),
    }
    # By hand: (25 + 1) 10 + (250 + 1) 20 + (320 + 1) 10 + (10 + 1) 10
    assert CONVNET.counts(shape).params == 260 + 5020 + 3210 + 110 == 8600
    # The kernels have 24x24 and 8x8 positions; the last two are the linear layers.
    products = 24 * 24 * 25 * 10, 8 * 8 * 250 * 20, 320 * 10, 10 * 10
    assert CONVNET.flops_per_unit(shape) == 2 * (2 * products[0] + 3 * sum(products[1:]))


def test_the_net_agrees_with_numpy() -> None:
    module = module_of(CONVNET, CONVNET.shape(8600, {}, MNIST))
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
    np.testing.assert_allclose(answers(module, x), want, rtol=1e-4, atol=1e-5)


def test_the_recipe_on_mnist_is_the_classic_one() -> None:
    recipe = CONVNET.recipe(CONVNET.shape(8600, {}, MNIST), 600_000, MNIST)
    assert (recipe.optimizer, recipe.learning_rate, recipe.beta1) == ("sgd", 0.001, 0.9)
    assert (recipe.batch, recipe.weight_decay, recipe.clip, recipe.warmup) == (100, 0, None, 0)
