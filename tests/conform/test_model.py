"""The built-in family passes its check, and each line of the check can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import pytest

import scalax as sx
from scalax import registry
from scalax.conform.check import check_plugin
from scalax.conform.model import check_model
from tests.conform.plugins import GoodData, GoodModel, Shape


@pytest.fixture(scope="module", autouse=True)
def data() -> None:
    registry.register("dataset", "good-data", GoodData(), origin="a test")


def failed(family: sx.ModelFamily) -> dict[str, str]:
    """Returns the details of the lines that a family fails, by requirement."""
    entry = registry.Entry("model", "good-model", "a test", family)
    return {line.demand: line.detail for line in check_model(entry, family) if not line.passed}


@pytest.mark.slow
def test_the_transformer_passes() -> None:
    [report] = check_plugin("model:transformer")
    assert [line for line in report.lines if not line.passed] == []
    assert len(report.lines) == 11


def test_a_correct_family_passes() -> None:
    assert failed(GoodModel()) == {}


class WithoutTrial(GoodModel):
    trial = None


class UnknownAxis(GoodModel):
    rules = {"inputs": "rows", "units": None}


class UnknownData(GoodModel):
    trial = replace(GoodModel.trial, data={"dataset": "no-such-data"})


class FixedSize(GoodModel):
    def shape(self, params: float, options: Any, data: Any) -> Any:
        return Shape(10)


class ZeroRate(GoodModel):
    def recipe(self, shape: Any, units: float, data: Any) -> sx.Recipe:
        return sx.Recipe(batch=8, learning_rate=0.0)


class TinyRate(GoodModel):
    def recipe(self, shape: Any, units: float, data: Any) -> sx.Recipe:
        return sx.Recipe(batch=8, learning_rate=1e-7)


class Undercounted(GoodModel):
    def counts(self, shape: Any) -> sx.Counts:
        return sx.Counts(5 * shape.hidden, 0, 5 * shape.hidden)


class Underpriced(GoodModel):
    def flops_per_unit(self, shape: Any) -> float:
        return 6.0 * self.counts(shape).params


class Unsummed(GoodModel):
    def sums(self, module: Any, batch: Any) -> Any:
        sums, weight = super().sums(module, batch)
        return {"loss": sums["loss"] * batch["mask"]}, weight


class Unmasked(GoodModel):
    def sums(self, module: Any, batch: Any) -> Any:
        return super().sums(module, batch | {"mask": jnp.ones_like(batch["mask"])})


class WithoutMetric(GoodModel):
    metrics = ("loss", "error_rate")


class Misshapen(GoodModel):
    """The layers expect two pixels and get one."""

    def sums(self, module: Any, batch: Any) -> Any:
        return super().sums(module, batch | {"image": batch["image"][:, :1]})


class DeviceDependent(GoodModel):
    """The loss depends on the number of devices."""

    def sums(self, module: Any, batch: Any) -> Any:
        import jax

        sums, weight = super().sums(module, batch)
        return {"loss": sums["loss"] * jax.sharding.get_abstract_mesh().size}, weight


@pytest.mark.parametrize(
    ("family", "demand", "why"),
    [
        (WithoutTrial, "declares its attributes", "no trial"),
        (UnknownAxis, "declares its attributes", "got {'inputs': 'rows'}"),
        (UnknownData, "trial data opens", "unknown dataset 'no-such-data'"),
        (FixedSize, "shape has the requested size within 10 %", "expected 102 parameters"),
        (ZeroRate, "recipe is valid", "expected a positive learning rate, got 0.0"),
        (Undercounted, "counts equals the module's parameters", "expected counts to return 52"),
        (Unsummed, "sums ignores masked examples", "expected a scalar for loss, got shape (16,)"),
        (Unmasked, "sums ignores masked examples", "examples with mask 0 change loss"),
        (WithoutMetric, "sums ignores masked examples", "error_rate is missing"),
        (Misshapen, "sums ignores masked examples", "TypeError"),
        (Underpriced, "flops_computed equals the traced FLOPs", "expected 200 FLOPs per example"),
        (DeviceDependent, "every mesh gives the same loss", "on mesh {'data': 2} the loss differs"),
        (TinyRate, "the loss falls in training", "Fix: correct recipe"),
    ],
)
def test_each_line_can_fail(family: type[sx.ModelFamily], demand: str, why: str) -> None:
    assert why in failed(family())[demand]
