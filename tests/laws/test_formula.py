"""Laws from formulas: what they infer, what they recover, how they are saved, and their errors."""

from __future__ import annotations

import numpy as np
import pytest

import scalax as sx
from scalax import registry
from scalax.conform.law import check_law
from scalax.laws.base import ComputeRule
from scalax.laws.formula import law_from_text
from scalax.laws.power_law import PowerLaw
from scalax.laws.resolve import is_formula
from scalax.laws.typical_values import draw_columns, draw_truth

POWER = "E + A/N**alpha"
CHINCHILLA = "E + A/N**alpha + B/D**beta"
CROSS = "E + A/N**alpha + B/D**beta + G/(N**g * D**g)"
OUTER = "E + (A/N**alpha + B/D**beta)**gamma"
KAPLAN = "((Nc/N)**(alpha_N/alpha_D) + Dc/D)**alpha_D"
OVERTRAINING = "E + a/(6*N**2)**eta + b/(6*D**2)**eta"
KNEE = "E + A*(1 + C/K)**(-alpha)"
HOURS = "E + A/[hours]**alpha"


@pytest.mark.parametrize("formula", [POWER, CHINCHILLA, CROSS, KNEE, HOURS])
def test_a_formula_passes_the_check_of_laws(formula: str) -> None:
    law = sx.law("mine", formula)
    lines = check_law(registry.Entry("law", "mine", "a test", law), law)
    assert [line for line in lines if not line.passed] == []
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        (CHINCHILLA, "chinchilla"),
        (OUTER, "joint"),
        (KAPLAN, "kaplan"),
        (OVERTRAINING, "overtraining"),
        (POWER, "power-params"),
    ],
)
def test_a_sum_of_powers_is_the_built_in_law(formula: str, name: str) -> None:
    law, built_in = sx.law("mine", formula), registry.get("law", name)
    assert isinstance(law, PowerLaw)
    rng = np.random.default_rng(0)
    c, x = draw_truth(built_in, rng), draw_columns(built_in, rng, 20)
    np.testing.assert_allclose(law.loss(np, c, x), built_in.loss(np, c, x), rtol=1e-12)
    assert {k.name: k.role for k in law.coefficients} == {
        k.name: k.role for k in built_in.coefficients
    }
    if "tokens" in law.columns:
        rule = ComputeRule(6.0, 1.05)
        assert law.allocate(c, 1e21, rule) == pytest.approx(built_in.allocate(c, 1e21, rule))


@pytest.mark.parametrize(
    ("formula", "problem"),
    [
        ("E + foo(N)", "unknown function 'foo' at column 5"),
        ("E + A/N.x", "unknown syntax 'N.x' at column 7"),
        ("E + A/N**a if D else E", "unknown syntax .* at column 1"),
        ("__import__('os').getcwd()", "unknown syntax .* at column 1"),
        ("E + exp(N, D)", "exp takes one argument at column 5"),
        ("E + (A/N**a", "not a formula at column 5"),
        ("E + A/N**a + F", "identify E and F separately at column 14"),
        ("E + A*B/N^a", "identify A and B separately at column 7"),
        ("E + A", "no column"),
        ("N**2", "no coefficient"),
    ],
)
def test_an_error_names_the_position(formula: str, problem: str) -> None:
    with pytest.raises(sx.ScalaxError, match=problem):
        sx.law("mine", formula)


def test_options_replace_what_is_inferred() -> None:
    law = sx.law(
        "mine",
        "E + A/hours**alpha",
        columns=["hours"],
        bounds={"alpha": (0.1, 0.2)},
        grids={"alpha": [0.15]},
        typical={"hours": (1.0, 10.0)},
        title="by the hour",
    )
    [alpha] = [c for c in law.coefficients if c.name == "alpha"]
    assert (alpha.low, alpha.high, alpha.grid) == (0.1, 0.2, (0.15,))
    assert law.columns == ("hours",) and law.title == "by the hour"
    assert law.typical["hours"] == (1.0, 10.0)
    assert law_from_text(law.reference).columns == ("hours",)
    with pytest.raises(sx.ScalaxError, match="no coefficient 'beta'"):
        sx.law("mine", POWER, bounds={"beta": (0, 1)})


def test_names_of_laws_are_not_formulas() -> None:
    assert not any(is_formula(e.name) for e in registry.entries("law"))
    assert all(map(is_formula, (POWER, "mine = " + POWER, CROSS, HOURS)))
