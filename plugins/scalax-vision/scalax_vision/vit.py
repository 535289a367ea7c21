"""The `vit` family: Vision Transformers.

`vit_shape` counts parameters and FLOPs; `vit_module` is the network. Importing this file does not
import jax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

import scalax as sx
from scalax_vision.classify import PUBLISHED_FROM, Classifier, root_batch
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
    """Pre-norm transformers with full attention over the patches of an image.

    Options of ``[model]``: ``patch`` (side in pixels), ``pool`` ("mean" over the patches, or a
    class "token"), ``positions`` ("sincos" or "learned"); and ``width``, ``layers``, ``heads``,
    ``head_dim`` and ``hidden``, which are chosen to meet the target size unless you give them. The
    defaults follow Beyer et al. 2022 (arXiv:2205.01580). ViT-B/16 as first published is ``patch =
    16, pool = "token", positions = "learned", width = 768, layers = 12``.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "vit"
    title: ClassVar[str] = "Vision Transformers over patches of images"
    options: ClassVar[type[sx.Settings]] = _Options
    size_options: ClassVar[tuple[str, ...]] = ("width", "layers")
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

    def search(self, params: float | None, options: _Options, data: sx.DataSpec) -> ViTShape:
        """Returns the Vision Transformer of a target size; see `sx.SizedFamily.search`."""
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
        """Returns exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: ViTShape) -> float:
        """Returns training FLOPs per example."""
        return flops_per_example(shape)

    def recipe(self, shape: ViTShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns hyperparameters for large or small images.

        Images of 16 pixels or more use the ImageNet recipe of Beyer et al. 2022 (arXiv:2205.01580;
        vit_s16_i1k.py of big_vision): AdamW, learning rate 0.001, batches of 1,024, warm-up of 9 %
        and decay of 0.0001 a step, which at this rate is a decoupled decay of 0.1.

        Smaller images use AdamW. The learning rate is 0.003 at 24,000 parameters, falls with their
        square root and is at most 0.012. Batches grow with the square root of the examples, 8 for
        8,000. Measured on `digits` with 3,000 and 24,000 parameters, 4,000 and 16,000 examples,
        learning rates 0.001 to 0.008 and batches of 8 and 16.
        """
        del data
        if min(shape.image[:2]) >= PUBLISHED_FROM:
            return sx.Recipe(batch=1024, learning_rate=0.001, warmup=0.09, beta2=0.999)
        rate = 0.003 * math.sqrt(24_000 / counts(shape).params)
        return sx.Recipe(
            batch=root_batch(units, divisor=10, least=8),
            learning_rate=min(0.012, rate),
            weight_decay=0.0,
            beta2=0.99,
        )

    def build(self, shape: ViTShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_vision.vit_module.VisionTransformer`."""
        from scalax_vision.vit_module import VisionTransformer

        return VisionTransformer(shape, rngs=rngs, compute=compute)
