"""What scalax asks of every plugin; add tests of what this one promises beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

import scalax as sx

PACKAGE = Path(__file__).parent.parent
REPORTS = sx.check_plugin(PACKAGE)


@pytest.mark.parametrize(
    ("passed", "told"),
    [(line.passed, f"{line.demand}: {line.detail}") for r in REPORTS for line in r.lines],
    ids=[line.demand for r in REPORTS for line in r.lines],
)
def test_scalax_asks(passed: bool, told: str) -> None:
    assert passed, told
