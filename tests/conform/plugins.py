"""Correct plugins, from which tests derive broken ones. This file has no tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import scalax as sx


class GoodLaw(sx.Law):
    """L = E + A / N^alpha + B / D^alpha."""

    interface = 1
    name = "good-law"
    title = "one exponent"
    equation = "L = E + A / N^alpha + B / D^alpha"
    source = "a test"
    coefficients = (
        sx.Coefficient("E", "linear", 1e-9, 1e3),
        sx.Coefficient("A", "linear", 1e-9, 1e15),
        sx.Coefficient("B", "linear", 1e-9, 1e15),
        sx.Coefficient("alpha", "exponent", 1e-3, 3.0, (0.1, 0.2, 0.3, 0.5)),
    )
    typical = {"E": (1, 2), "A": (1e2, 1e3), "B": (1e2, 1e4), "alpha": (0.2, 0.5)}

    def loss(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        one, params, tokens = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * params + c["B"] * tokens

    def basis(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> list[Any]:
        by_params = xp.exp(-c["alpha"] * xp.log(x["params"]))
        return [1.0, by_params, xp.exp(-c["alpha"] * xp.log(x["tokens"]))]


@dataclass(frozen=True)
class Rows:
    """Random images of two pixels, labelled by whether the first one is brighter."""

    first: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> sx.Example:
        image = np.random.default_rng(self.first + index).random(2).astype(np.float32)
        return {"image": image, "label": np.int32(image[0] > image[1])}


@dataclass
class Opened:
    spec: sx.DataSpec
    splits: dict[str, Any]

    def source(self, split: str) -> Any:
        return self.splits[split]


class GoodData(sx.Dataset):
    """Forty examples to train on and twenty held out."""

    interface = 1
    name = "good-data"
    title = "numbered rows"

    def open(self, name: str, options: Mapping[str, Any]) -> Opened:
        del options
        features = {"image": sx.Feature((2,), "float32"), "label": sx.Feature((), "int32")}
        spec = sx.DataSpec(name, "examples", 1, features, 2, 40, 20, "f")
        return Opened(spec, {"train": Rows(0, 40), "eval": Rows(1000, 20)})


@dataclass(frozen=True)
class Shape:
    hidden: int


class GoodModel(sx.ModelFamily):
    """Two linear layers over two pixels."""

    interface = 1
    name = "good-model"
    title = "two layers"
    rules = {"inputs": None, "units": "tensor"}
    trial = sx.Trial((52, 102), {"dataset": "good-data"}, steps=30)

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> Any:
        del options, data
        return Shape(2 * round((params - 2) / 10))

    def counts(self, shape: Any) -> sx.Counts:
        total = 5 * shape.hidden + 2
        return sx.Counts(total, 0, total)

    def flops_per_unit(self, shape: Any) -> float:
        # 2 FLOPs per weight: forward and weight gradient of both layers, input gradient of the head
        return 2.0 * (2 * 2 * shape.hidden + 3 * 2 * shape.hidden)

    def recipe(self, shape: Any, units: float, data: sx.DataSpec) -> sx.Recipe:
        del shape, units, data
        return sx.Recipe(batch=8, learning_rate=0.05, weight_decay=0.0)

    def build(self, shape: Any, *, rngs: Any, compute: sx.Compute) -> Any:
        from flax import nnx

        kernel = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("inputs", "units"))
        bias = nnx.with_partitioning(nnx.initializers.zeros_init(), ("units",))
        del compute

        class Net(nnx.Module):
            def __init__(self) -> None:
                self.one = nnx.Linear(
                    2, shape.hidden, kernel_init=kernel, bias_init=bias, rngs=rngs
                )
                self.two = nnx.Linear(shape.hidden, 2, rngs=rngs)

        return Net()

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        import jax.numpy as jnp
        import optax
        from flax import nnx

        logits = module.two(nnx.relu(module.one(batch["image"])))
        each = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return {"loss": jnp.sum(each * batch["mask"])}, jnp.sum(batch["mask"])


def with_spec(opened: Opened, **changes: Any) -> Opened:
    """Returns the same data with another spec."""
    return Opened(replace(opened.spec, **changes), opened.splits)
