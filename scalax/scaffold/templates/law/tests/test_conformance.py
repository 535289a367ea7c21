"""Runs `scalax plugins check` on the package, one test for each line."""

from __future__ import annotations

from pathlib import Path

import pytest

import scalax as sx

PACKAGE = Path(__file__).parent.parent
REPORTS = sx.check_plugin(PACKAGE)


@pytest.mark.parametrize(
    ("passed", "reason"),
    [(line.passed, f"{line.demand}: {line.detail}") for r in REPORTS for line in r.lines],
    ids=[line.demand for r in REPORTS for line in r.lines],
)
def test_scalax_check(passed: bool, reason: str) -> None:
    assert passed, reason
