"""The manual's reference lists every public name."""

from __future__ import annotations

import re

import scalax
from tests.conftest import ROOT


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ {3}([A-Za-z_]+)$|`([A-Z]\w+)` is", text, re.MULTILINE))
    names = {name for pair in listed for name in pair if name}
    assert names == set(scalax.__all__) - {"__version__"}
