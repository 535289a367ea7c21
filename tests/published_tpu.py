"""What is known of training on TPUs, from experiments/data, and the same steps simulated."""

from __future__ import annotations

import csv
from typing import Any

from scalax.hardware.chips import read_chips
from scalax.hardware.layout import parse_mesh
from scalax.hardware.slices import parse_slice
from scalax.hardware.step import Step, simulate_step
from scalax.shapes.transformer import TransformerShape, TransformerVariant
from tests.conftest import ROOT

_INTEGERS = (
    "vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden", "seq_len",
)  # fmt: skip


def published_rows() -> list[dict[str, Any]]:
    """Published results, each with its ``architecture`` and ``speed`` in tokens/s/chip."""
    rows = _read("tpu_results.csv")
    for row in rows:
        row["speed"] = float(row["tokens_per_second_per_chip"])
    return rows


def memory_cases() -> list[dict[str, Any]]:
    """What the TPU's compiler says of steps, each with its ``architecture`` and ``bytes``."""
    rows = _read("tpu_memory.csv")
    for row in rows:
        row["bytes"] = int(row["compiled_bytes"])
    return rows


def _read(name: str) -> list[dict[str, Any]]:
    with (ROOT / "experiments" / "data" / name).open(encoding="utf-8", newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    for row in rows:
        row["architecture"] = TransformerShape(
            **{key: int(row[key]) for key in _INTEGERS},
            variant=_variant(row),
            gated=row["gated"] == "true",
            tied=row["tied"] == "true",
        )
    return rows


def _variant(row: dict[str, Any]) -> TransformerVariant | None:
    """The row's experts; None for a dense model."""
    experts = int(row.get("experts", 1))
    if experts == 1:
        return None
    return TransformerVariant(experts=experts, experts_per_token=int(row["experts_per_token"]))


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
