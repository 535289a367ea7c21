"""Names of precisions and recomputation policies; imports nothing, for a fast ``--help``."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["bf16", "f32", "int8", "fp8"]
Recompute = Literal["none", "dots", "full"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RECOMPUTE: tuple[Recompute, ...] = get_args(Recompute)
