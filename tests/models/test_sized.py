"""Families with a schema of options: parsing, required features and the size of fixed shapes."""

from __future__ import annotations

import pytest

import scalax as sx
from scalax.models.transformer import Transformer

DATA = sx.DataSpec("text", "tokens", 32, {"tokens": sx.Feature((33,), "int32")}, 256, 9, 9, "")
IMAGES = sx.DataSpec("photos", "examples", 1, {"image": sx.Feature((8,), "int32")}, 9, 9, 9, "")


def test_options_that_determine_the_size_give_it_and_others_leave_it_open() -> None:
    family = Transformer()
    options = {"width": 64, "layers": 3, "tied": True}
    size = family.size(options, DATA)
    assert size is not None
    shape = family.shape(size, options, DATA)
    assert (shape.width, shape.layers, family.counts(shape).params) == (64, 3, size)
    assert family.size({"width": 64}, DATA) is None


def test_a_family_without_size_options_has_no_size_of_its_own() -> None:
    class OpenTransformer(Transformer):
        size_options = ()

    assert OpenTransformer().size({"width": 64, "layers": 3}, DATA) is None


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({"width": 64, "layers": 2, "depth": 3}, DATA, "model.*depth"),
        (
            {"width": 64, "layers": 2},
            IMAGES,
            "needs data with a feature 'tokens'; photos has image",
        ),
    ],
)
def test_shape_and_size_reject_unknown_options_and_unsuitable_data(options, data, message) -> None:
    with pytest.raises(sx.ScalaxError, match=message):
        Transformer().shape(1e5, options, data)
    with pytest.raises(sx.ScalaxError, match=message):
        Transformer().size(options, data)
