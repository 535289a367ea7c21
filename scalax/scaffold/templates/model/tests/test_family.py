"""The family against counts worked out by hand."""

from __future__ import annotations

import pytest
from template_plugin.family import Shape, TemplatePlugin

import scalax as sx

DATA = sx.DataSpec("text", "tokens", 32, {"tokens": sx.Feature((33,), "int32")}, 256, 9, 9, "x")


def test_counts_and_flops_are_those_of_the_layers() -> None:
    shape = Shape(vocab=10, width=2, hidden=3, depth=1)
    # embedding 10 x 2; (8 x 2 + 1) x 3; (3 + 1) x 10
    assert TemplatePlugin().counts(shape).params == 20 + 51 + 40
    assert TemplatePlugin().flops_per_unit(shape) == 6 * (16 * 3 + 3 * 10)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(sx.ScalaxError, match=r"model\.dept: unknown key"):
        TemplatePlugin().shape(1e5, {"dept": 2}, DATA)
