"""Published results of training on TPUs, from experiments/data, and the same steps simulated."""

from __future__ import annotations

import csv
from typing import Any

from scalax.hardware.chips import read_chips
from scalax.hardware.layout import parse_mesh
from scalax.hardware.slices import parse_slice
from scalax.hardware.step import Step, simulate_step
from scalax.shapes.architecture import Architecture
from tests.conftest import ROOT

_INTEGERS = (
    "vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden", "seq_len", "experts",
    "experts_per_token",
)  # fmt: skip


def published_rows() -> list[dict[str, Any]]:
    """Each row, with its ``architecture`` and ``speed`` in tokens/s/chip."""
    path = ROOT / "experiments" / "data" / "tpu_results.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    for row in rows:
        row["architecture"] = Architecture(
            **{name: int(row[name]) for name in _INTEGERS},
            gated=row["gated"] == "true",
            tied=row["tied"] == "true",
        )
        row["speed"] = float(row["tokens_per_second_per_chip"])
    return rows


def simulated(row: dict[str, Any]) -> Step:
    """The row's step, simulated."""
    return simulate_step(
        row["architecture"],
        parse_slice(row["chips"], read_chips()),
        parse_mesh(row["mesh"]),
        int(row["sequences"]),
        precision=row["precision"],
        recompute=row["recompute"],
    )
