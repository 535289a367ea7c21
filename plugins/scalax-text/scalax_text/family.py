"""What both text families share: their options, mesh rules, metrics, and what a size comes to."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.shape import EncoderShape, PairShape, ShapeOptions


class TextFamily(sx.ModelFamily):
    """A family over bytes whose shape a size or its ``width`` and ``layers`` give.

    Class attributes:
        reads: Features that the data must have.
    """

    interface: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]]
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
        """The shape nearest to a size, or with None the one that what is fixed comes to."""

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> Any:
        """The model of a target size; see `ModelFamily.shape`."""
        return self._shape(params, sx.parse_settings(ShapeOptions, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: sx.DataSpec) -> float | None:
        """The size that ``width`` and ``layers`` come to; None without both of them."""
        parsed = sx.parse_settings(ShapeOptions, options, where="model")
        if parsed.width is None or parsed.layers is None:
            return None
        return float(self.counts(self._shape(None, parsed, data)).params)

    def _shape(self, params: float | None, options: ShapeOptions, data: sx.DataSpec) -> Any:
        if not set(self.reads) <= data.features.keys():
            raise sx.ScalaxError(
                f"needs data with features {' and '.join(map(repr, self.reads))}; {data.name} has "
                f"{', '.join(data.features)}",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        return self.nearest(params, options.fixed, data)

    def counts(self, shape: EncoderShape | PairShape) -> sx.Counts:
        """Exact parameter counts."""
        return shape.counts
