"""Tests the law against numbers worked out by hand, and its fit to a table that follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scalax as sx

PACKAGE = Path(__file__).parent.parent
TRUTH = {"E": 1.5, "A": 300.0, "B": 900.0, "alpha": 0.3}


@pytest.fixture(scope="module")
def law() -> sx.Law:
    from template_plugin.law import TemplatePlugin

    return TemplatePlugin()


def test_the_loss_follows_the_equation(law: sx.Law) -> None:
    c = {"E": 1.0, "A": 100.0, "B": 1000.0, "alpha": 0.5}
    assert law.loss(np, c, {"params": 1e4, "tokens": 1e6}) == pytest.approx(1 + 1 + 1)


def test_a_fit_to_the_example_table_recovers_its_coefficients(law: sx.Law) -> None:
    sx.register("law", law.name, law, origin="template-plugin")
    result = sx.fit(str(PACKAGE / "example.csv"), law.name).coefficients
    assert result == pytest.approx(TRUTH, rel=1e-4)
