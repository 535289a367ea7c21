"""The words that options of the command line take; apart, so that help needs no more."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["bf16", "f32", "int8", "fp8"]
Recompute = Literal["none", "dots", "full"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
RECOMPUTE: tuple[Recompute, ...] = get_args(Recompute)
