"""The `encoder-decoder` family: translators.

What it costs stands in `shape`, what it computes in `encoder_decoder_module`; importing this
imports no jax.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx
from scalax_text.family import TextFamily
from scalax_text.shape import PairShape, pair_shape, recipe


class EncoderDecoder(TextFamily):
    """An encoder and a decoder of as many layers, with cross-attention (Vaswani et al. 2017).

    Pre-norm with RMSNorm, GELU and no biases (arXiv:1706.03762, and T5, arXiv:1910.10683, for
    pre-norm and the one embedding that is also the head). The encoder has learned positions, the
    decoder rotary ones. Options of ``[model]``: ``width``, ``layers`` (of each), ``heads``,
    ``head_dim`` and ``hidden``, each fixed where it is given.

    Loss, accuracy and error rate are per byte of the targets, their ends included; FLOPs and
    training data per pair.
    """

    name: ClassVar[str] = "encoder-decoder"
    title: ClassVar[str] = "transformer from a source to a target text, for translation"
    reads: ClassVar[tuple[str, ...]] = ("source", "target")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (1.2e4, 5e4, 2e5, 1e6, 1e7),
        {"dataset": "catalogues", "packages": ["humanize"], "min_messages": 20, "seq_len": 24},
    )

    def nearest(self, params: float | None, fixed: sx.FixedShape, data: sx.DataSpec) -> PairShape:
        """The translator of a target size."""
        (source_len,), (target_len,) = (data.features[name].shape for name in self.reads)
        return pair_shape(
            params,
            vocab=data.classes,
            source_len=source_len,
            target_len=target_len,
            fixed=fixed,
        )

    def flops_per_unit(self, shape: PairShape) -> float:
        """Training FLOPs per pair, the decoder's own attention counted causal."""
        return shape.flops()

    def flops_computed(self, shape: PairShape) -> float:
        """With the scores that the causal mask hides."""
        return shape.flops(computed=True)

    def recipe(self, shape: PairShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """AdamW without decay, batches of sqrt(pairs) / 8, learning rate 1.13 / sqrt(params).

        Measured on 16,000 pairs of `catalogues`, rates of 0.002 to 0.016 and batches of 16 and 32:
        19,776 parameters did best at 0.008 and 16 (loss 2.603), 80,592 at 0.004 and 16 (2.377).
        The growth of the batch is a rule of thumb.
        """
        del data
        return recipe(shape.counts.params, units, 1.13)

    def build(self, shape: PairShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """The module; see `scalax_text.encoder_decoder_module.Translator`."""
        from scalax_text.encoder_decoder_module import Translator

        return Translator(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed cross-entropy in nats, right and wrong bytes, over the targets' bytes."""
        from scalax_text.encoder_decoder_module import pair_sums

        return pair_sums(module, batch)
