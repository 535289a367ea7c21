"""Tests the family against counts worked out by hand."""

from __future__ import annotations

import pytest
from template_plugin.family import template_plugin

import scalax as sx

DATA = sx.DataSpec("text", "tokens", 32, {"tokens": sx.Feature((33,), "int32")}, 256, 9, 9, "x")


def test_counts_and_flops_follow_from_the_layers() -> None:
    # Width 11: embedding 256 x 11; layer (8 x 11 + 1) x 22; head (22 + 1) x 256.
    params = 256 * 11 + 89 * 22 + 23 * 256
    shape = template_plugin.shape(params, {}, DATA)
    assert template_plugin.counts(shape) == sx.Counts(params, 256 * 11, params)
    assert template_plugin.flops_per_unit(shape) == 6 * (88 * 22 + 22 * 256)


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(sx.ScalaxError, match=r"model\.dept: unknown key"):
        template_plugin.shape(1e5, {"dept": 2}, DATA)
