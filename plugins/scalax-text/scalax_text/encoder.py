"""The `encoder` family: classifiers of text.

`shape` counts parameters and FLOPs; `encoder_module` is the network. Importing this file does not
import jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.encoding import BYTES
from scalax_text.family import TextFamily
from scalax_text.shape import EncoderShape, ShapeOptions, encoder_shape, recipe


class Encoder(TextFamily):
    """A bidirectional transformer over bytes, mean pooling and a linear head.

    The blocks follow BERT (Devlin et al. 2019, arXiv:1810.04805) with the norm before each layer:
    full attention with padding masked out, GELU and learned positions; RMSNorm and no biases.
    Options of ``[model]``: ``width``, ``layers``, ``heads``, ``head_dim`` and ``hidden``. Those
    that you give are fixed; the others are chosen to meet the target size.
    """

    name: ClassVar[str] = "encoder"
    title: ClassVar[str] = "bidirectional transformer over bytes, for classification"
    features: ClassVar[tuple[str, ...]] = ("text", "label")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (8e3, 3e4, 1e5, 1e6, 1e7),
        {"dataset": "languages", "packages": ["humanize"], "min_messages": 20, "seq_len": 24},
    )

    def search(
        self, params: float | None, options: ShapeOptions, data: sx.DataSpec
    ) -> EncoderShape:
        """Returns the encoder of a target size."""
        (length,) = data.features["text"].shape
        return encoder_shape(
            params, vocab=BYTES, seq_len=length, classes=data.classes, fixed=options.fixed
        )

    def flops_per_unit(self, shape: EncoderShape) -> float:
        """Returns training FLOPs per example."""
        return shape.flops

    def recipe(self, shape: EncoderShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns AdamW without decay, batch sqrt(examples) / 8 and rate 0.57 / sqrt(params).

        Measured on 16,000 examples of `languages` with rates of 0.002 to 0.016 and batches of 16 to
        64. With 10,016 parameters, rate 0.008 and batch 16 were best (loss 1.894). With 40,064
        parameters, 0.002 and 16 were best (1.872; 0.004 gave 1.893). The growth of the batch is a
        rule of thumb.
        """
        del data
        return recipe(shape.counts.params, units, 0.57)

    def build(self, shape: EncoderShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_text.encoder_module.Classifier`."""
        from scalax_text.encoder_module import Classifier

        return Classifier(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns cross-entropy in nats, right labels and wrong labels, summed over examples."""
        return sx.label_sums(module(batch["text"]), batch["label"], batch["mask"])
