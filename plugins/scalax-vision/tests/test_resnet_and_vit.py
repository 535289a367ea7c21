"""Tests both families against published counts, and their layers against NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from vision_cases import (
    DIGITS,
    IMAGENET,
    RESNET,
    VIT,
    abstract_of,
    answers,
    batch_of,
    images,
    module_of,
)


@pytest.mark.parametrize(
    ("options", "params"),
    [  # from torchvision's documentation, read on 24 November 2026
        ({"blocks": [2, 2, 2, 2]}, 11_689_512),
        ({"blocks": [3, 4, 6, 3], "block": "bottleneck"}, 25_557_032),
    ],
)
def test_resnets_of_imagenet_have_their_published_counts(options, params) -> None:
    assert RESNET.size({"width": 64, **options}, IMAGENET) == params


def test_resnet_18_has_its_published_products() -> None:
    options = {"width": 64, "blocks": [2, 2, 2, 2]}
    shape = RESNET.shape(11_689_512, options, IMAGENET)
    # torchvision states 1.81e9 multiply-adds. It counts products with padding, which are at most
    # 1 - (19/21)^2 of a 3x3 convolution's. The backward pass of the stem counts once, not twice.
    assert 0.88 * 1.81e9 < RESNET.flops_per_unit(shape) / 6 < 1.81e9


@pytest.mark.parametrize(
    ("options", "params"),
    [  # vit_b_16 and vit_l_16, from the same documentation
        ({"width": 768, "layers": 12, "heads": 12}, 86_567_656),
        ({"width": 1024, "layers": 24, "heads": 16}, 304_326_632),
    ],
)
def test_vision_transformers_have_their_published_counts(options, params) -> None:
    given = {"patch": 16, "pool": "token", "positions": "learned", **options}
    assert VIT.size(given, IMAGENET) == params


def test_vit_b_16_has_its_published_products() -> None:
    given = {"patch": 16, "pool": "token", "positions": "learned", "width": 768, "layers": 12}
    shape = VIT.shape(86_567_656, given, IMAGENET)
    assert shape.length == 197
    # 17.56e9 multiply-adds; the backward pass of the patch embedding counts once, not twice.
    assert VIT.flops_per_unit(shape) / 6 == pytest.approx(17.56e9, rel=0.005)


def convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Convolves by definition: zero padding, and one product for each position in the kernel."""
    side, before = len(kernel), len(kernel) // 2
    x = np.pad(x, ((0, 0), (before, before), (before, before), (0, 0)))
    rows, columns = ((n - side) // stride + 1 for n in x.shape[1:3])
    out = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i in range(side):
        for j in range(side):
            part = x[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            out += part @ kernel[i, j]
    return out


def test_the_resnet_agrees_with_numpy() -> None:
    shape = RESNET.shape(4e4, {"blocks": [1, 2, 1]}, DIGITS)
    module = module_of(RESNET, shape)
    rng = np.random.default_rng(0)

    def normed(layer, x, at=None):
        kernel = np.asarray(layer.conv.kernel[...] if at is None else layer.conv.kernel[...][at])
        x = convolved(x, kernel, layer.stride)
        groups = layer.norm.num_groups
        grouped = x.reshape(*x.shape[:3], groups, -1)
        mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
        var = grouped.var(axis=(1, 2, 4), keepdims=True)
        x = ((grouped - mean) / np.sqrt(var + 1e-6)).reshape(x.shape)
        scale, bias = layer.norm.scale[...], layer.norm.bias[...]
        return x * (scale if at is None else scale[at]) + (bias if at is None else bias[at])

    blocks = [getattr(block, "blocks", block) for block in module.blocks]
    for block in blocks:  # the scale starts at zero, which would hide the branch
        block.last.norm.scale[...] = rng.random(block.last.norm.scale.shape)
    x = batch_of(DIGITS, 2)["image"]
    want = np.maximum(normed(module.stem, x), 0)
    for block in blocks:
        at = (
            0 if block.last.norm.scale.ndim == 2 else None
        )  # a stack of one block has an axis of layers
        y = np.maximum(normed(block.first[0], want, at), 0)
        shortcut = want if block.shortcut is None else normed(block.shortcut, want, at)
        want = np.maximum(shortcut + normed(block.last, y, at), 0)
    want = want.mean(axis=(1, 2)) @ np.asarray(module.head.kernel[...])
    np.testing.assert_allclose(answers(module, x), want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_logits_depend_on_every_patch(pool: str) -> None:
    options = {"pool": pool, "positions": "learned"}
    module = module_of(VIT, VIT.shape(1e4, options, DIGITS))
    x = batch_of(DIGITS, 1)["image"]
    slope = jax.jit(jax.grad(lambda x: module(x)[0, 0]))(x)
    assert (np.abs(np.asarray(slope)) > 0).all()


def test_logits_depend_on_the_order_of_patches() -> None:
    shape = VIT.shape(1e4, {}, DIGITS)
    module = module_of(VIT, shape)
    x = batch_of(DIGITS, 1)["image"]
    p = shape.patch
    swapped = x.copy()
    swapped[:, :p, :p], swapped[:, :p, p : 2 * p] = x[:, :p, p : 2 * p], x[:, :p, :p]
    assert np.abs(np.asarray(answers(module, x) - answers(module, swapped))).max() > 1e-4


def test_attention_is_the_softmax_over_all_patches() -> None:
    from scalax_vision.vit_module import attend

    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, 3, 5, 4)).astype(np.float32)
    powers = np.exp(np.einsum("bhqk,bhlk->bhql", q, k) / 2)
    want = np.einsum("bhql,bhlk->bhqk", powers / powers.sum(-1, keepdims=True), v)
    np.testing.assert_allclose(attend(q, k, v), want, rtol=1e-4, atol=1e-5)


def test_patches_are_cut_row_by_row() -> None:
    from scalax_vision.vit_module import split_patches

    image = np.arange(4 * 6 * 3).reshape(1, 4, 6, 3)
    patches = np.asarray(split_patches(image, 2))
    assert patches.shape == (1, 6, 12)
    np.testing.assert_array_equal(patches[0, 4], image[0, 2:, 2:4].ravel())


@pytest.mark.parametrize("family", [RESNET, VIT], ids=lambda family: family.name)
def test_recomputing_layers_changes_nothing(family) -> None:
    deep = {"blocks": [1, 3, 1]} if family is RESNET else {"layers": 2}
    shape = family.shape(6000, deep, DIGITS)
    batch = batch_of(DIGITS, 2)
    _, weights = nnx.split(module_of(family, shape))

    def slopes(recompute: str):
        graph, _ = nnx.split(abstract_of(family, shape, recompute))
        slope = jax.grad(lambda w: family.sums(nnx.merge(graph, w), batch)[0]["loss"])
        assert ("remat" in str(jax.make_jaxpr(slope)(weights))) == (recompute == "full")
        return jax.jit(slope)(weights)

    stored, recomputed = (jax.tree.leaves(slopes(recompute)) for recompute in ("none", "full"))
    for one, other in zip(stored, recomputed, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_images_of_sixteen_pixels_or_more_use_the_published_recipes() -> None:
    cifar = images(32, 32, 3)
    recipes = {
        (family.name, data.classes): family.recipe(family.shape(1e6, {}, data), 1e6, data)
        for family in (RESNET, VIT)
        for data in (cifar, images(224, 224, 3, 1000))
    }
    settings = {key: (r.optimizer, r.learning_rate, r.batch) for key, r in recipes.items()}
    assert settings == {
        ("resnet", 10): ("sgd", 0.1, 128),
        ("resnet", 1000): ("sgd", 0.1, 256),
        ("vit", 10): ("adamw", 0.001, 1024),
        ("vit", 1000): ("adamw", 0.001, 1024),
    }
