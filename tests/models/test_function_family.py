"""A family from a function: counted by its module, traced for its FLOPs, and registered."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import pytest
from flax import nnx

import scalax as sx
from scalax import registry
from tests.conftest import ROOT

DATA = sx.DataSpec("text", "tokens", 32, {"tokens": sx.Feature((33,), "int32")}, 256, 9, 9, "x")


class Net(nnx.Module):
    """An embedding and a head over each token."""

    def __init__(self, width: int, vocab: int, rngs: nnx.Rngs, depth: int = 0) -> None:
        self.embed = nnx.Embed(vocab, width, rngs=rngs)
        kernel = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("inputs", "units"))
        self.layers = nnx.List(
            nnx.Linear(width, width, kernel_init=kernel, rngs=rngs) for _ in range(depth)
        )
        self.head = nnx.Linear(width, vocab, rngs=rngs)

    def sums(self, batch: Any) -> Any:
        x = self.embed(batch["tokens"][:, :-1])
        for layer in self.layers:
            x = layer(x)
        targets = batch["tokens"][:, 1:]
        mask = jnp.broadcast_to(batch["mask"][:, None], targets.shape)
        return sx.label_sums(self.head(x), targets, mask)


class Options(sx.Settings):
    depth: int = 1


def make(size: int, data: sx.DataSpec, rngs: nnx.Rngs) -> Net:
    """One matrix over tokens."""
    return Net(size, data.classes, rngs)


def deep(size: int, data: sx.DataSpec, rngs: nnx.Rngs, options: Options) -> Net:
    return Net(size, data.classes, rngs, options.depth)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalax.registry.lookup._registered", {})


def test_counts_and_flops_are_those_worked_out_by_hand() -> None:
    family = sx.family("one-matrix", features=["tokens"])(make)
    shape = family.shape(10_000, {}, DATA)
    width = shape.size
    assert family.counts(shape).params == 256 * width + (width + 1) * 256
    assert family.counts(shape).params_embedding == 256 * width
    assert family.counts(shape).params == pytest.approx(10_000, rel=0.1)
    # The head's product forward, and for the gradients of its inputs and of its weights.
    assert family.flops_per_unit(shape) == 6 * width * 256


def test_the_function_is_registered_and_can_still_be_called() -> None:
    family = sx.family("one-matrix", features=["tokens"])(make)
    assert registry.get("model", "one-matrix") is family
    assert family.title == "One matrix over tokens"
    assert isinstance(family(4, DATA, nnx.Rngs(0)), Net)


def test_counting_a_size_twice_makes_its_module_once() -> None:
    made: list[int] = []

    def counted(size: int, data: sx.DataSpec, rngs: nnx.Rngs) -> Net:
        made.append(size)
        return make(size, data, rngs)

    family = sx.family("one-matrix", features=["tokens"])(counted)
    shape = family.shape(10_000, {}, DATA)
    before = len(made)
    assert len(set(made)) == before
    assert family.shape(10_000, {}, replace(DATA, train_examples=4)) == shape
    assert family.counts(shape).params > 0
    assert len(made) == before


def test_options_reach_the_function_and_unknown_ones_are_refused() -> None:
    family = sx.family(
        "deep", features=["tokens"], options=Options, rules={"inputs": None, "units": "tensor"}
    )(deep)
    one, two = (family.shape(20_000, {"depth": k}, DATA) for k in (1, 2))
    for shape, depth in ((one, 1), (two, 2)):
        width = shape.size
        matrices = depth * width * (width + 1)
        assert family.counts(shape).params == 256 * width + (width + 1) * 256 + matrices
    with pytest.raises(sx.ScalaxError, match=r"model\.dept: unknown key"):
        family.shape(20_000, {"dept": 2}, DATA)


def test_data_without_the_features_is_refused() -> None:
    family = sx.family("one-matrix", features=["tokens"])(make)
    images = replace(DATA, features={"image": sx.Feature((8, 8, 1), "float32")})
    with pytest.raises(sx.ScalaxError, match="needs data with a feature 'tokens'; text has image"):
        family.shape(10_000, {}, images)


def test_own_counts_flops_and_recipe_replace_the_measured_ones() -> None:
    family = sx.family(
        "one-matrix",
        features=["tokens"],
        counts=lambda size, data: sx.Counts(512 * size + 256, 0, 256 * size),
        flops=lambda size, data: 2.0 * size,
        recipe=lambda params, units, data: sx.Recipe(batch=3, learning_rate=1.0),
    )(make)
    shape = family.shape(10_000, {}, DATA)
    assert family.counts(shape).params_active == 256 * shape.size
    assert family.flops_per_unit(shape) == 2.0 * shape.size
    assert family.flops_computed(shape) == 6 * shape.size * 256
    assert family.recipe(shape, 1e5, DATA).batch == 3


def test_half_precision_needs_a_function_that_takes_it() -> None:
    family = sx.family("one-matrix", features=["tokens"])(make)
    shape = family.shape(10_000, {}, DATA)
    with pytest.raises(sx.ScalaxError, match="computes in float32 alone"):
        family.build(shape, rngs=nnx.Rngs(0), compute=sx.Compute(jnp.bfloat16))


def test_a_package_s_entry_point_keeps_its_name() -> None:
    # As `plugins check FOLDER` does: the entry point is registered before its module is imported.
    registry.register("model", "one-matrix", f"{__name__}:made", origin="a-package")
    made = sx.family("one-matrix", features=["tokens"])(make)
    assert registry.find("model", "one-matrix").origin == "a-package"
    assert isinstance(made, sx.FunctionFamily)


def test_counting_starts_no_device() -> None:
    code = """
from tests.models.test_function_family import DATA, make
import scalax as sx
family = sx.family("one-matrix", features=["tokens"])(make)
shape = family.shape(10_000, {}, DATA)
family.counts(shape), family.flops_per_unit(shape)
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
