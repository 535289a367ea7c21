"""Tests of every image family on real modules: counts, FLOPs, sizes, masks and errors."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from vision_cases import (
    CONVNET,
    DIGITS,
    IMAGENET,
    MNIST,
    RESNET,
    TEXT,
    VIT,
    abstract_of,
    batch_of,
    images,
    module_of,
)

import scalax as sx

COLOUR = images(32, 25, 3)
CASES = [
    (CONVNET, 8600, {}, MNIST),
    (CONVNET, 50_000, {}, MNIST),
    (CONVNET, 3000, {}, DIGITS),
    (CONVNET, 40_000, {}, DIGITS),
    (CONVNET, 2e5, {}, COLOUR),
    (RESNET, 3000, {}, DIGITS),
    (RESNET, 2e5, {"blocks": [1, 3, 2]}, COLOUR),
    (RESNET, 1e5, {"block": "bottleneck", "blocks": 2}, MNIST),
    (RESNET, 25_557_032, {"width": 64, "blocks": [3, 4, 6, 3], "block": "bottleneck"}, IMAGENET),
    (RESNET, 1e6, {}, images(97, 65, 3)),
    (VIT, 3000, {}, DIGITS),
    (VIT, 2e5, {"patch": 5, "pool": "token"}, images(25, 35, 3)),
    (VIT, 1e5, {"positions": "learned", "layers": 2}, MNIST),
    (VIT, 1e6, {"pool": "token", "positions": "learned", "heads": 3}, images(64, 64, 3)),
]
NAMED = pytest.mark.parametrize(
    ("family", "params", "options", "data"), CASES, ids=[f"{f.name}-{n:.0f}" for f, n, *_ in CASES]
)


@NAMED
def test_counts_equal_the_parameter_tree(family, params, options, data) -> None:
    shape = family.shape(params, options, data)
    leaves = jax.tree.leaves(nnx.state(abstract_of(family, shape), nnx.Param))
    assert family.counts(shape).params == sum(leaf.size for leaf in leaves)


@NAMED
def test_flops_equal_the_traced_gradient(family, params, options, data) -> None:
    shape = family.shape(params, options, data)
    graph, weights = nnx.split(abstract_of(family, shape))
    batch = batch_of(data, 3)

    def loss(weights):
        return family.sums(nnx.merge(graph, weights), batch)[0]["loss"]

    assert sx.traced_flops(jax.grad(loss), weights) == 3 * family.flops_per_unit(shape)


@pytest.mark.parametrize(
    ("family", "smallest", "data"),
    [
        *((CONVNET, None, data) for data in (MNIST, DIGITS, images(16, 16), images(4, 4), COLOUR)),
        *((RESNET, 2500, data) for data in (DIGITS, images(32, 32, 3))),
        (RESNET, 30_000, images(224, 224, 3)),
        *((VIT, 2500, data) for data in (DIGITS, images(32, 32, 3))),
        (VIT, 30_000, images(224, 224, 3)),
    ],
)
def test_sizes_from_the_smallest_are_met_within_ten_percent(family, smallest, data) -> None:
    if smallest is None:
        smallest = family.counts(family.shape(1e4, {}, data)).params
    for target in np.geomspace(smallest, 1e8, 300 if family is CONVNET else 15):
        assert abs(family.counts(family.shape(target, {}, data)).params / target - 1) <= 0.1


@pytest.mark.parametrize("family", [CONVNET, RESNET, VIT], ids=lambda family: family.name)
def test_sums_leave_out_masked_examples(family) -> None:
    module = module_of(family, family.shape(4000, {}, DIGITS))
    batch = batch_of(DIGITS, 6)
    score = jax.jit(lambda batch: family.sums(module, batch))
    sums, weight = score(batch | {"mask": np.float32([1, 1, 1, 1, 0, 0])})
    four, _ = score({name: values[:4] for name, values in batch.items()})
    assert float(weight) == 4
    assert float(sums["accuracy"] + sums["error_rate"]) == 4
    for name, value in four.items():
        assert float(sums[name]) == pytest.approx(float(value))


@pytest.mark.parametrize(
    ("family", "params", "options", "data", "message"),
    [
        (CONVNET, 5000, {}, MNIST, "the nearest has 8,600. Fix: ask for 8600"),
        (CONVNET, 8600, {"depth": 3}, MNIST, "model.depth: unknown key"),
        (CONVNET, 8600, {}, images(3, 28), "images of 3 x 28 are too small"),
        (RESNET, 500, {}, DIGITS, "no ResNet .* about 500 parameters: the nearest has"),
        (RESNET, 1e6, {"width": 8, "blocks": 1}, DIGITS, "or leave out width or blocks"),
        (RESNET, 1e5, {"blocks": [1, 2]}, DIGITS, r"model.blocks: .*write \[1, 1, 1\], or 1"),
        (RESNET, 1e5, {"block": "wide"}, DIGITS, "model.block: expected 'basic' or 'bottleneck'"),
        (VIT, 1e5, {"patch": 3}, DIGITS, "8 x 8 do not divide into patches of 3 x 3. Fix: write 4"),
        (VIT, 2000, {}, images(32, 32, 3), "no ViT .* about 2,000 parameters: the nearest has"),
        (VIT, 1e5, {"width": 30}, DIGITS, "a width of 30 is not made up of heads"),
        (VIT, 1e5, {"pool": "max"}, DIGITS, "model.pool: expected 'mean' or 'token'"),
    ],
)
def test_impossible_shapes_raise(family, params, options, data, message: str) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        family.shape(params, options, data)


@pytest.mark.parametrize("family", [CONVNET, RESNET, VIT], ids=lambda family: family.name)
def test_data_without_images_raises(family) -> None:
    with pytest.raises(sx.ScalaxError, match=r"needs data with features 'image'.*text has tokens"):
        family.shape(8600, {}, TEXT)
    grey = {"image": sx.Feature((8, 8), "float32"), "label": sx.Feature((), "int32")}
    flat = sx.DataSpec("flat", "examples", 1, grey, 10, 9, 9, "x")
    with pytest.raises(sx.ScalaxError, match=r"'image' of flat \(expected .*, got \[8, 8\]\)"):
        family.shape(8600, {}, flat)
