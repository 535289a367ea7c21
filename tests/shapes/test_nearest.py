"""The size search: the nearest of candidates or of a knob, by cost, or a clear error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scalax as sx


def square(width: int) -> int:
    return width * width


@given(st.floats(1, 1e12))
def test_a_knob_gives_the_nearest_of_all_its_values(target: float) -> None:
    width = sx.nearest_shape(target, lambda width: width, square, tolerance=10)
    near = {max(1, int(target**0.5) + step) for step in (-1, 0, 1, 2)}
    ratio = {width: max(square(width) / target, target / square(width)) for width in near}
    assert ratio[width] == min(ratio.values())


def test_the_cost_decides_within_the_tolerance_alone() -> None:
    widths = [20, 31, 32, 33, 40]
    assert sx.nearest_shape(1000, widths, square) == 32
    assert sx.nearest_shape(1000, widths, square, cost=lambda width, _: -width) == 33


def test_the_bound_ends_the_search() -> None:
    seen: list[int] = []

    def count(width: int) -> int:
        seen.append(width)
        return 1000

    width = sx.nearest_shape(
        1000, range(1, 100), count, cost=lambda w, _: abs(w - 3), bound=lambda w: w - 3
    )
    assert width == 3
    assert max(seen) == 3


def test_the_error_names_the_nearest_size_and_the_setting() -> None:
    with pytest.raises(sx.ScalaxError) as caught:
        sx.nearest_shape(1000, [20, 40], square, what="net", where="model.width")
    assert "no net has about 1,000 parameters: the nearest has 1,600" in str(caught.value)
    assert "model.width" in str(caught.value)
    with pytest.raises(sx.ScalaxError, match="the vocabulary alone is larger"):
        sx.nearest_shape(1000, [], square, none="the vocabulary alone is larger")


def test_the_old_name_of_forward_flops_warns_and_works() -> None:
    shape = sx.transformer_shape(1e5, vocab=256, seq_len=32)
    with pytest.warns(DeprecationWarning, match=r"use sx\.forward_flops"):
        old = sx.transformer_flops
    assert old(shape) == sx.forward_flops(shape)
    assert sx.train_flops(shape) == 3 * sx.forward_flops(shape)
