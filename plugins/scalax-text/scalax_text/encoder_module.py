"""The classifier in Flax NNX: what `EncoderShape` counts. Imports jax.

Letters in names are dimensions: B batch, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import scalax as sx
from scalax_text.encoding import PAD
from scalax_text.layers import EncoderStack, embedding
from scalax_text.shape import EncoderShape


class Classifier(nnx.Module):
    """An encoder, the mean of its positions, and a linear head.

    Args:
        shape: The architecture.
        rngs: For the initial parameters.
        compute: How to compute.
    """

    def __init__(self, shape: EncoderShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s = shape.dense
        self.embedding = embedding(rngs, s.vocab, s.width, ("vocab", "embed"))
        self.encoder = EncoderStack(s, s.seq_len, rngs=rngs, compute=compute)
        self.head = sx.Matrix(
            rngs,
            (s.width, shape.classes),
            ("embed", "classes"),
            inputs=1,
            std=s.width**-0.5,
            dtype=compute.dtype,
        )
        self.dtype = compute.dtype

    def __call__(self, text_BxL: jax.Array) -> jax.Array:
        """Logits [B, classes], float32; padding changes none of them."""
        real_BxL = text_BxL != PAD
        x_BxLxD = self.encoder(self.embedding[...].astype(self.dtype)[text_BxL], real_BxL)
        count_Bx1 = jnp.maximum(1, jnp.sum(real_BxL, axis=1, keepdims=True))
        mean_BxD = jnp.sum(jnp.where(real_BxL[..., None], x_BxLxD, 0), axis=1) / count_Bx1
        return self.head(mean_BxD.astype(self.dtype)).astype(jnp.float32)


def label_sums(
    module: Classifier, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Summed metrics of a batch.

    Args:
        module: The model.
        batch: ``text`` [B, L], ``label`` [B] and ``mask`` [B].

    Returns:
        Sums of ``loss`` in nats, ``accuracy`` and ``error_rate``, and the number of examples that
        they are over; float32.
    """
    logits, label = module(batch["text"]), batch["label"]
    mask = batch["mask"].astype(jnp.float32)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    right = (jnp.argmax(logits, axis=-1) == label).astype(jnp.float32)
    sums = {"loss": nats, "accuracy": right, "error_rate": 1 - right}
    return {name: jnp.sum(value * mask) for name, value in sums.items()}, jnp.sum(mask)
