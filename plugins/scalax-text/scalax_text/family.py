"""The base of both text families: options, sharding rules, metrics and the size search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import scalax as sx
from scalax_text.shape import EncoderShape, PairShape, ShapeOptions


class TextFamily(sx.SizedFamily):
    """A family over bytes. Its shape follows from a size, or from ``width`` and ``layers``."""

    interface: ClassVar[int] = 1
    options: ClassVar[type[sx.Settings]] = ShapeOptions
    size_options: ClassVar[tuple[str, ...]] = ("width", "layers")
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "error_rate")
    rules: ClassVar[Mapping[str, str | None]] = {
        "vocab": "tensor",
        "embed": "fsdp",
        "heads": "tensor",
        "kv_heads": "tensor",
        "mlp": "tensor",
        "head_dim": None,
        "layers": None,
        "norm": None,
        "positions": None,
        "classes": None,
    }

    def counts(self, shape: EncoderShape | PairShape) -> sx.Counts:
        """Returns exact parameter counts."""
        return shape.counts
