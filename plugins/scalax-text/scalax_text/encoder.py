"""The `encoder` family: classifiers of text.

What it costs stands in `shape`, what it computes in `encoder_module`; this imports no jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.encoding import BYTES
from scalax_text.shape import EncoderShape, ShapeOptions, encoder_shape, recipe


class Encoder(sx.ModelFamily):
    """A bidirectional transformer over bytes, the mean of its positions, a linear head.

    Pre-norm blocks after BERT (Devlin et al. 2019, arXiv:1810.04805): full attention with padding
    masked out, GELU, learned positions; RMSNorm and no biases. Options of ``[model]``: ``width``,
    ``layers``, ``heads``, ``head_dim`` and ``hidden``, each fixed where it is given.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "encoder"
    title: ClassVar[str] = "bidirectional transformer over bytes, for classification"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "error_rate")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (8e3, 3e4, 1e5, 1e6, 1e7),
        {"dataset": "languages", "packages": ["humanize"], "min_messages": 20, "seq_len": 24},
    )
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

    def shape(self, params: float, options: Mapping[str, Any], data: sx.DataSpec) -> EncoderShape:
        """The encoder of a target size; see `ModelFamily.shape`."""
        return self._shape(params, sx.parse_settings(ShapeOptions, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: sx.DataSpec) -> float | None:
        """The size that ``width`` and ``layers`` come to; None without both of them."""
        parsed = sx.parse_settings(ShapeOptions, options, where="model")
        if parsed.width is None or parsed.layers is None:
            return None
        return float(self._shape(None, parsed, data).counts.params)

    def _shape(
        self, params: float | None, options: ShapeOptions, data: sx.DataSpec
    ) -> EncoderShape:
        if "text" not in data.features or "label" not in data.features:
            raise sx.ScalaxError(
                f"needs data with features 'text' and 'label'; {data.name} has "
                f"{', '.join(data.features)}",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        (length,) = data.features["text"].shape
        return encoder_shape(
            params, vocab=BYTES, seq_len=length, classes=data.classes, fixed=options.fixed
        )

    def counts(self, shape: EncoderShape) -> sx.Counts:
        """Exact parameter counts."""
        return shape.counts

    def flops_per_unit(self, shape: EncoderShape) -> float:
        """Training FLOPs per example."""
        return shape.flops

    def recipe(self, shape: EncoderShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """AdamW without decay, batches of sqrt(examples) / 8, learning rate 0.57 / sqrt(params).

        Measured on 16,000 examples of `languages`, rates of 0.002 to 0.016 and batches of 16 to 64:
        10,016 parameters did best at 0.008 and 16 (loss 1.894), 40,064 at 0.002 and 16 (1.872; at
        0.004 1.893). The growth of the batch is a rule of thumb.
        """
        del data
        return recipe(shape.counts.params, units, 0.57)

    def build(self, shape: EncoderShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """The module; see `scalax_text.encoder_module.Classifier`."""
        from scalax_text.encoder_module import Classifier

        return Classifier(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed cross-entropy in nats, right and wrong labels, over the examples."""
        return sx.label_sums(module(batch["text"]), batch["label"], batch["mask"])
