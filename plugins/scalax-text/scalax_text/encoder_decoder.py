"""The `encoder-decoder` family: models that translate.

`shape` counts parameters and FLOPs; `encoder_decoder_module` is the network. Importing this file
does not import jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.family import TextFamily
from scalax_text.shape import PairShape, ShapeOptions, pair_shape, recipe


class EncoderDecoder(TextFamily):
    """An encoder and a decoder with equally many layers and cross-attention.

    It follows Vaswani et al. 2017 (arXiv:1706.03762), with the norm before each layer and one
    embedding that is also the head, as in T5 (arXiv:1910.10683); RMSNorm, GELU and no biases. The
    encoder has learned positions, the decoder rotary ones. Options of ``[model]``: ``width``,
    ``layers`` (of the encoder and of the decoder), ``heads``, ``head_dim`` and ``hidden``. Those
    that you give are fixed; the others are chosen to meet the target size.

    Loss, accuracy and error rate are per byte of the target, including its end. FLOPs and training
    data are per pair.
    """

    name: ClassVar[str] = "encoder-decoder"
    title: ClassVar[str] = "transformer from a source to a target text, for translation"
    features: ClassVar[tuple[str, ...]] = ("source", "target")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (1.2e4, 5e4, 2e5, 1e6, 1e7),
        {"dataset": "catalogues", "packages": ["humanize"], "min_messages": 20, "seq_len": 24},
    )

    def search(self, params: float | None, options: ShapeOptions, data: sx.DataSpec) -> PairShape:
        """Returns the translator of a target size."""
        (source_len,), (target_len,) = (data.features[name].shape for name in self.features)
        return pair_shape(
            params,
            vocab=data.classes,
            source_len=source_len,
            target_len=target_len,
            fixed=options.fixed,
        )

    def flops_per_unit(self, shape: PairShape) -> float:
        """Returns training FLOPs per pair, with causal self-attention in the decoder."""
        return shape.flops()

    def flops_computed(self, shape: PairShape) -> float:
        """Returns training FLOPs per pair, including the scores that the causal mask hides."""
        return shape.flops(computed=True)

    def recipe(self, shape: PairShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns AdamW without decay, batch sqrt(pairs) / 8 and rate 1.13 / sqrt(params).

        Measured on 16,000 pairs of `catalogues` with rates of 0.002 to 0.016 and batches of 16 and
        32. With 19,776 parameters, rate 0.008 and batch 16 were best (loss 2.603). With 80,592
        parameters, 0.004 and 16 were best (2.377). The growth of the batch is a rule of thumb.
        """
        del data
        return recipe(shape.counts.params, units, 1.13)

    def build(self, shape: PairShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_text.encoder_decoder_module.Translator`."""
        from scalax_text.encoder_decoder_module import Translator

        return Translator(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns cross-entropy in nats, right bytes and wrong bytes, summed over target bytes."""
        from scalax_text.encoder_decoder_module import pair_sums

        return pair_sums(module, batch)
