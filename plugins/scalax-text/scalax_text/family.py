"""The base of both text families: options, sharding rules, metrics and the size search."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.shape import EncoderShape, PairShape, ShapeOptions


class TextFamily(sx.ModelFamily):
    """A family over bytes. Its shape follows from a size, or from ``width`` and ``layers``."""

    interface: ClassVar[int] = 1
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

    @abc.abstractmethod
    def nearest(self, params: float | None, fixed: sx.FixedShape, data: sx.DataSpec) -> Any:
        """Returns the shape nearest to a size, or for None the shape that ``fixed`` determines."""

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> Any:
        """Returns the model of a target size; see `ModelFamily.shape`."""
        return self._shape(params, sx.parse_settings(ShapeOptions, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: sx.DataSpec) -> float | None:
        """Returns the params that ``width`` and ``layers`` determine; None without both."""
        parsed = sx.parse_settings(ShapeOptions, options, where="model")
        if parsed.width is None or parsed.layers is None:
            return None
        return float(self.counts(self._shape(None, parsed, data)).params)

    def _shape(self, params: float | None, options: ShapeOptions, data: sx.DataSpec) -> Any:
        sx.require_features(self, data)
        return self.nearest(params, options.fixed, data)

    def counts(self, shape: EncoderShape | PairShape) -> sx.Counts:
        """Returns exact parameter counts."""
        return shape.counts
