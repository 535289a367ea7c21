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

COSTLY = ("data-constrained", "m4")  # some seconds each, to be found again from its own data


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
    """The lines that a law fails, by demand."""
    entry = registry.Entry("law", "good-law", "a test", law)
    return {line.demand: line.detail for line in check_law(entry, law) if not line.passed}


def test_a_law_that_is_right_passes() -> None:
    assert failed(GoodLaw()) == {}


def _loss(change: Callable[..., Any]) -> type[sx.Law]:
    """A law whose loss is changed: of xp, the right loss, the coefficients and columns."""

    class Broken(GoodLaw):
        def loss(self, xp: Any, c: Any, x: Any) -> Any:
            return change(xp, super().loss(xp, c, x), c, x)

    return Broken


class Nameless(GoodLaw):
    source = ""


class Renamed(GoodLaw):
    name = "other-law"


class Rangeless(GoodLaw):
    typical = {"E": (1.0, 2.0)}


class Twofold(GoodLaw):
    """Two values of alpha are one law, so that the fit may bring the other one back."""

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return super().basis(xp, {**c, "alpha": 0.2 + 4 * (c["alpha"] - 0.35) ** 2}, x)


class Unidentified(GoodLaw):
    """E and F stand for one number: nothing tells them apart."""

    coefficients = (*GoodLaw.coefficients, sx.Coefficient("F", "linear", 1e-9, 1e3))
    typical = {**GoodLaw.typical, "F": (1.0, 2.0)}

    def loss(self, xp: Any, c: Any, x: Any) -> Any:
        one, params, tokens, other = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * params + c["B"] * tokens + c["F"] * other

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return [*super().basis(xp, c, x), 1.0]


class Overspent(GoodLaw):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        params, tokens = super().allocate(c, flops, compute, given)
        return params, 2 * tokens


class Offcentre(GoodLaw):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        params, tokens = super().allocate(c, flops, compute, given)
        return params * 1.2, tokens / 1.2


class Answering(GoodLaw):
    """A law of params alone that splits a budget all the same."""

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
        (Nameless, "says what it is", "source is missing"),
        (Renamed, "says what it is", "registered as 'good-law', but its name is 'other-law'"),
        (Rangeless, "says what it is", 'add "A": (LEAST, GREATEST)'),
        (_loss(lambda xp, y, c, x: y * xp.nan), "finite over its range", "loss nan at E="),
        (_loss(lambda xp, y, c, x: y - 1e3), "finite over its range", "which has no logarithm"),
        (_loss(lambda xp, y, c, x: xp.sum(y)), "finite over its range", "each of 40 rows"),
        (
            _loss(lambda xp, y, c, x: y + 1e-6 * (xp is np)),
            "numpy and jax agree",
            "compute with xp alone",
        ),
        (
            _loss(lambda xp, y, c, x: y + xp.sqrt(c["E"] - c["E"]) * 1e-3),
            "differentiable over its range",
            "a derivative is not finite at",
        ),
        (
            _loss(lambda xp, y, c, x: y + 1e-9 * x["params"]),
            "falls where it says so",
            "times the params raises the loss",
        ),
        (Twofold, "coefficients are recovered from its own data", "alpha comes back"),
        (Unidentified, "coefficients are recovered from its own data", "never tells"),
        (Overspent, "its allocation is the optimum", "cost"),
        (Offcentre, "its allocation is the optimum", "another size has"),
        (Answering, "says that it cannot split a budget", "allocate answers"),
    ],
)
def test_each_line_can_fail(law: type[sx.Law], demand: str, why: str) -> None:
    assert why in failed(law())[demand]


class Product(GoodLaw):
    """L = E + A / (N D^2)^alpha: at one budget the smallest model is best, and there is none."""

    coefficients = (*GoodLaw.coefficients[:2], GoodLaw.coefficients[3])
    typical = {"E": (1, 2), "A": (1e2, 1e3), "alpha": (0.1, 0.2)}

    def basis(self, xp: Any, c: Any, x: Any) -> list[Any]:
        return [1.0, xp.exp(-c["alpha"] * (xp.log(x["params"]) + 2 * xp.log(x["tokens"])))]

    def loss(self, xp: Any, c: Any, x: Any) -> Any:
        return c["E"] + c["A"] * self.basis(xp, c, x)[1]


class Honest(Product):
    def allocate(self, c: Any, flops: Any, compute: Any, given: Any = None) -> Any:
        raise sx.ScalaxError("no split is best")


def test_a_law_under_which_no_split_is_best_must_say_so() -> None:
    assert "let allocate raise" in failed(Product())["its allocation is the optimum"]
    assert failed(Honest()) == {}


def test_a_law_that_does_not_state_its_version_is_told_to() -> None:
    class Silent(sx.Law):
        name = "good-law"
        title = equation = source = "a test"
        coefficients = GoodLaw.coefficients
        typical = GoodLaw.typical
        loss, basis = GoodLaw.loss, GoodLaw.basis

    assert "interface: ClassVar[int] = 1" in failed(Silent())["says what it is"]
