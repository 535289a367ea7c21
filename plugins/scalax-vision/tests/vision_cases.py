"""Helpers for the tests of the families: data of many shapes, and modules built as scalax does."""

from __future__ import annotations

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType
from scalax_vision.convnet import ConvNet
from scalax_vision.resnet import ResNet
from scalax_vision.vit import ViT

import scalax as sx

CONVNET, RESNET, VIT = ConvNet(), ResNet(), ViT()


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


MNIST, DIGITS, IMAGENET = images(28, 28), images(8, 8), images(224, 224, 3, 1000)
TEXT = sx.DataSpec("text", "tokens", 8, {"tokens": sx.Feature((9,), "int32")}, 256, 9, 9, "x")


@contextlib.contextmanager
def placed(family: sx.ModelFamily):
    """Sets the mesh and sharding rules for creating named parameters, as the trainer does."""
    axes = ("data", "fsdp", "tensor", "expert")
    mesh = jax.make_mesh((1,) * 4, axes, axis_types=(AxisType.Auto,) * 4, devices=jax.devices()[:1])
    with jax.set_mesh(mesh), nnx.logical_axis_rules(tuple(family.rules.items())):
        yield


def module_of(family: sx.ModelFamily, shape):
    with placed(family):
        return nnx.jit(lambda: _built(family, shape))()


def abstract_of(family: sx.ModelFamily, shape, recompute="none"):
    """Returns the module without values, which needs no compilation."""
    with placed(family):
        return nnx.eval_shape(lambda: _built(family, shape, recompute))


def _built(family: sx.ModelFamily, shape, recompute="none"):
    compute = sx.Compute(jnp.float32, recompute)
    return family.build(shape, rngs=nnx.Rngs(0), compute=compute)


def batch_of(data: sx.DataSpec, examples: int):
    rng = np.random.default_rng(0)
    return {
        "image": rng.random((examples, *data.features["image"].shape), np.float32),
        "label": rng.integers(0, data.classes, examples).astype(np.int32),
        "mask": np.ones(examples, np.float32),
    }


def answers(module, x):
    """Computes logits in one compiled program, which is faster than single operations."""
    return np.asarray(nnx.jit(lambda module, x: module(x))(module, x))
