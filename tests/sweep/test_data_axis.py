"""Axes over keys of [data] are errors: a sweep opens one dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

import scalax as sx
from scalax.sweep.run import prepare

EXPERIMENT = """
[data]
dataset = "stdlib"
seq_len = 128
[model]
family = "transformer"
[sweep]
kind = "list"
runs = [{ params = 100_000, tokens = 100_000 }]
axes."data.seq_len" = [64, 128]
"""


def test_an_axis_over_the_data_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "axes.toml"
    file.write_text(EXPERIMENT)
    with pytest.raises(sx.ScalaxError, match=r"sweep\.axes\.data\.seq_len: a sweep reads one"):
        prepare(file)
