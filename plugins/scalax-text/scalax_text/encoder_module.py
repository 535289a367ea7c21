"""The classifier in Flax NNX; `EncoderShape` counts it. Imports jax.

Letters in names are dimensions: B batch, L positions, D width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_text.encoding import PAD
from scalax_text.layers import EncoderStack, embedding
from scalax_text.shape import EncoderShape


class Classifier(nnx.Module):
    """An encoder, mean pooling over positions, and a linear head.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
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
        """Returns logits [B, classes], float32; padding does not affect them."""
        real_BxL = text_BxL != PAD
        x_BxLxD = self.encoder(self.embedding[...].astype(self.dtype)[text_BxL], real_BxL)
        count_Bx1 = jnp.maximum(1, jnp.sum(real_BxL, axis=1, keepdims=True))
        mean_BxD = jnp.sum(jnp.where(real_BxL[..., None], x_BxLxD, 0), axis=1) / count_Bx1
        return self.head(mean_BxD.astype(self.dtype)).astype(jnp.float32)
