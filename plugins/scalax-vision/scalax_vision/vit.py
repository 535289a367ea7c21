"""The `vit` family: Vision Transformers.

What it costs stands in `vit_shape`, what it computes in `vit_module`; importing this imports no
jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

import scalax as sx
from scalax_vision.classify import Classifier
from scalax_vision.vit_shape import (
    Pool,
    Positions,
    ViTShape,
    counts,
    flops_per_example,
    shape_for,
)


class _Options(sx.Settings):
    patch: int | None = Field(None, ge=1)
    pool: Pool = "mean"
    positions: Positions = "sincos"
    width: int | None = Field(None, ge=1)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=1)

    @property
    def fixed(self) -> sx.FixedShape:
        return sx.FixedShape(self.width, self.layers, self.heads, self.head_dim, self.hidden)


class ViT(Classifier):
    """Pre-norm transformers over patches of an image, each attending to all.

    Options of ``[model]``: ``patch`` (its side), ``pool`` ("mean" over the patches, or a "token" of
    the head's own), ``positions`` ("sincos" or "learned"); and ``width``, ``layers``, ``heads``,
    ``head_dim`` and ``hidden``, each fixed where it is given. By default as in Beyer et al. 2022
    (arXiv:2205.01580); ViT-B/16 as first published is ``patch = 16, pool = "token", positions =
    "learned", width = 768, layers = 12``.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "vit"
    title: ClassVar[str] = "Vision Transformers over patches of images"
    trial: ClassVar[sx.Trial] = sx.Trial((3e3, 1e4, 1e5, 1e6, 1e7), {"dataset": "digits"})
    rules: ClassVar[Mapping[str, str | None]] = {
        "image": None,
        "embed": "fsdp",
        "qkv": None,
        "heads": "tensor",
        "head_dim": None,
        "mlp": "tensor",
        "position": None,
        "classes": None,
        "layers": None,
        "norm": None,
    }

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> ViTShape:
        """The Vision Transformer of a target size; see `ModelFamily.shape`."""
        return self._shape(params, sx.parse_settings(_Options, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: sx.DataSpec) -> float | None:
        """The size that ``width`` and ``layers`` come to; None without both of them."""
        parsed = sx.parse_settings(_Options, options, where="model")
        if parsed.width is None or parsed.layers is None:
            return None
        return float(counts(self._shape(None, parsed, data)).params)

    def _shape(self, params: float | None, options: _Options, data: sx.DataSpec) -> ViTShape:
        return shape_for(
            params,
            image=self.image(data),
            classes=data.classes,
            patch=options.patch,
            pool=options.pool,
            positions=options.positions,
            fixed=options.fixed,
        )

    def counts(self, shape: ViTShape) -> sx.Counts:
        """Exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: ViTShape) -> float:
        """Training FLOPs per example."""
        return flops_per_example(shape)

    def recipe(self, shape: ViTShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Hyperparameters."""
        return sx.Recipe(batch=16, learning_rate=0.005, weight_decay=0.0, beta2=0.99)

    def build(self, shape: ViTShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """The module; see `scalax_vision.vit_module.VisionTransformer`."""
        from scalax_vision.vit_module import VisionTransformer

        return VisionTransformer(shape, rngs=rngs, compute=compute)
