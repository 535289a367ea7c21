"""Every built-in law passes its check, and each line of the check can fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import scalax as sx
from scalax import registry
from scalax.conform.check import check_plugin
from scalax.conform.law import check_law
from tests.conform.plugins import GoodLaw
from tests.laws.truths import NAMES

COSTLY = ("data-constrained", "m4")  # their fits take some seconds


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in COSTLY else n for n in NAMES]
    + ["loss-to-accuracy", "loss-to-error"],
)
def test_every_built_in_law_passes(name: str) -> None:
    [report] = check_plugin(f"law:{name}")
    assert [line for line in report.lines if not line.passed] == []
    assert len(report.lines) == 8


def failed(law: sx.Law) -> dict[str, str]:
    """Returns the details of the lines that a law fails, by requirement."""
    entry = registry.Entry("law", "good-law", "a test", law)
    return {line.demand: line.detail for line in check_law(entry, law) if not line.passed}


def test_a_correct_law_passes() -> None:
    assert failed(GoodLaw()) == {}


def _loss(change: Callable[..., Any]) -> type[sx.Law]:
    """Returns a law with a changed loss: ``change(xp, loss, c, x)``."""

    class Broken(GoodLaw):
        def loss(self, xp: Any, c: Any, x: Any) -> Any:
            return change(xp, super().loss(xp, c, x), c, x)

    return Broken


class Sourceless(GoodLaw):
    source = ""


class Renamed(GoodLaw):
    name = "other-law"


class WithoutRange(GoodLaw):
    typical = {"E": (1.0, 2.0)}


class Symmetric(GoodLaw):
    """Two values of alpha give the same loss, so that a fit may return the other one."""

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return super().basis(xp, {**c, "alpha": 0.2 + 4 * (c["alpha"] - 0.35) ** 2}, x)


class Unidentified(GoodLaw):
    """Only the sum of E and F is identified."""

    coefficients = (*GoodLaw.coefficients, sx.Coefficient("F", "linear", 1e-9, 1e3))
    typical = {**GoodLaw.typical, "F": (1.0, 2.0)}

    def loss(self, xp: Any, c: Any, x: Any) -> Any:
        one, params, tokens, other = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * params + c["B"] * tokens + c["F"] * other

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return [*super().basis(xp, c, x), 1.0]


class OverBudget(GoodLaw):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        params, tokens = super().allocate(c, flops, compute, given)
        return params, 2 * tokens


class OffOptimum(GoodLaw):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        params, tokens = super().allocate(c, flops, compute, given)
        return params * 1.2, tokens / 1.2


class AllocatesWithoutTokens(GoodLaw):
    """A law of params only, whose allocate returns a split."""

    columns = ("params",)
    coefficients = (GoodLaw.coefficients[0], *GoodLaw.coefficients[1::2])
    typical = {k: v for k, v in GoodLaw.typical.items() if k != "B"}

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return [1.0, xp.exp(-c["alpha"] * xp.log(x["params"]))]

    def loss(self, xp: Any, c: Any, x: Any) -> Any:
        return c["E"] + c["A"] * self.basis(xp, c, x)[1]

    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        return flops**0.5, flops**0.5


@pytest.mark.parametrize(
    ("law", "demand", "why"),
    [
        (Sourceless, "declares its attributes", "source is missing"),
        (
            Renamed,
            "declares its attributes",
            "registered as 'good-law', but its name is 'other-law'",
        ),
        (WithoutRange, "declares its attributes", 'add "A": (LEAST, GREATEST)'),
        (
            _loss(lambda xp, y, c, x: y * xp.nan),
            "loss is finite and positive",
            "got loss nan at E=",
        ),
        (
            _loss(lambda xp, y, c, x: y - 1e3),
            "loss is finite and positive",
            "expected a positive loss, got loss -",
        ),
        (_loss(lambda xp, y, c, x: xp.sum(y)), "loss is finite and positive", "each of 40 rows"),
        (
            _loss(lambda xp, y, c, x: y + 1e-6 * (xp is np)),
            "numpy and jax give the same loss",
            "compute only with xp",
        ),
        (
            _loss(lambda xp, y, c, x: y + xp.sqrt(c["E"] - c["E"]) * 1e-3),
            "loss is differentiable",
            "a derivative is not finite at",
        ),
        (
            _loss(lambda xp, y, c, x: y + 1e-9 * x["params"]),
            "loss falls with the columns of falls_with",
            "times the params raises the loss",
        ),
        (Symmetric, "a fit recovers its coefficients", "the fit has alpha = "),
        (Unidentified, "a fit recovers its coefficients", "in none of 3 fits"),
        (OverBudget, "allocate returns the optimum", "that cost the budget"),
        (OffOptimum, "allocate returns the optimum", "another size has"),
        (AllocatesWithoutTokens, "allocate rejects every budget", "allocate returns a split"),
    ],
)
def test_each_line_can_fail(law: type[sx.Law], demand: str, why: str) -> None:
    assert why in failed(law())[demand]


class Product(GoodLaw):
    """L = E + A / (N D^2)^alpha: smaller is always better, so that no budget has an optimum."""

    coefficients = (*GoodLaw.coefficients[:2], GoodLaw.coefficients[3])
    typical = {"E": (1, 2), "A": (1e2, 1e3), "alpha": (0.1, 0.2)}

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return [1.0, xp.exp(-c["alpha"] * (xp.log(x["params"]) + 2 * xp.log(x["tokens"])))]

    def loss(self, xp: Any, c: Any, x: Any) -> Any:
        return c["E"] + c["A"] * self.basis(xp, c, x)[1]


class RaisesWithoutOptimum(Product):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        raise sx.ScalaxError("no split is best")


def test_a_law_without_an_optimum_must_raise() -> None:
    assert "let allocate raise" in failed(Product())["allocate returns the optimum"]
    assert failed(RaisesWithoutOptimum()) == {}


def test_a_law_must_state_its_interface_version() -> None:
    class WithoutVersion(sx.Law):
        name = "good-law"
        title = equation = source = "a test"
        coefficients = GoodLaw.coefficients
        typical = GoodLaw.typical
        loss, basis = GoodLaw.loss, GoodLaw.basis

    assert "interface: ClassVar[int] = 1" in failed(WithoutVersion())["declares its attributes"]
