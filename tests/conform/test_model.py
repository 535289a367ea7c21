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
    """The lines that a family fails, by demand."""
    entry = registry.Entry("model", "good-model", "a test", family)
    return {line.demand: line.detail for line in check_model(entry, family) if not line.passed}


@pytest.mark.slow
def test_the_transformer_passes() -> None:
    [report] = check_plugin("model:transformer")
    assert [line for line in report.lines if not line.passed] == []
    assert len(report.lines) == 11


def test_a_family_that_is_right_passes() -> None:
    assert failed(GoodModel()) == {}


class Untried(GoodModel):
    trial = None


class Misruled(GoodModel):
    rules = {"inputs": "rows", "units": None}


class Homeless(GoodModel):
    trial = replace(GoodModel.trial, data={"dataset": "no-such-data"})


class Small(GoodModel):
    def shape(self, params: float, options: Any, data: Any) -> Any:
        return Shape(10)


class Hasty(GoodModel):
    def recipe(self, shape: Any, units: float, data: Any) -> sx.Recipe:
        return sx.Recipe(batch=8, learning_rate=0.0)


class Idle(GoodModel):
    def recipe(self, shape: Any, units: float, data: Any) -> sx.Recipe:
        return sx.Recipe(batch=8, learning_rate=1e-7)


class Forgetful(GoodModel):
    def counts(self, shape: Any) -> sx.Counts:
        return sx.Counts(5 * shape.hidden, 0, 5 * shape.hidden)


class Cheap(GoodModel):
    def flops_per_unit(self, shape: Any) -> float:
        return 6.0 * self.counts(shape).params


class Unsummed(GoodModel):
    def sums(self, module: Any, batch: Any) -> Any:
        sums, weight = super().sums(module, batch)
        return {"loss": sums["loss"] * batch["mask"]}, weight


class Unmasked(GoodModel):
    def sums(self, module: Any, batch: Any) -> Any:
        return super().sums(module, batch | {"mask": jnp.ones_like(batch["mask"])})


class Unmeasured(GoodModel):
    metrics = ("loss", "error_rate")


class Misshapen(GoodModel):
    """Its layers do not fit the pixels."""

    def sums(self, module: Any, batch: Any) -> Any:
        return super().sums(module, batch | {"image": batch["image"][:, :1]})


class Local(GoodModel):
    """Its loss depends on how many devices a batch lies on."""

    def sums(self, module: Any, batch: Any) -> Any:
        import jax

        sums, weight = super().sums(module, batch)
        return {"loss": sums["loss"] * jax.sharding.get_abstract_mesh().size}, weight


@pytest.mark.parametrize(
    ("family", "demand", "why"),
    [
        (Untried, "says what it is", "states no trial"),
        (Misruled, "says what it is", "rules name mesh axes that are none: {'inputs': 'rows'}"),
        (Homeless, "its trial's data opens", "unknown dataset 'no-such-data'"),
        (Small, "a size asked for is met within 10 %", "asked for 102 parameters"),
        (Hasty, "its recipe can be used", "expected a positive learning rate, got 0.0"),
        (Forgetful, "counts are those of the module", "counts says 50, the module at 52 has 52"),
        (Unsummed, "sums add up over examples", "expected a scalar for loss, got shape (16,)"),
        (Unmasked, "sums add up over examples", "examples of mask 0 change loss"),
        (Unmeasured, "sums add up over examples", "error_rate is missing"),
        (Misshapen, "sums add up over examples", "TypeError"),
        (Cheap, "FLOPs are those of the traced step", "a traced step computes 200 per example"),
        (Local, "any mesh gives the same loss", "on {'data': 2} the loss of one of 3 steps"),
        (Idle, "learns its example", "fix the recipe"),
    ],
)
def test_each_line_can_fail(family: type[sx.ModelFamily], demand: str, why: str) -> None:
    assert why in failed(family())[demand]
