"""The translator in Flax NNX; `PairShape` counts it. Imports jax.

Letters in names are dimensions: B batch, S source positions, T target positions, D width, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import scalax as sx
from scalax_text.encoding import END, PAD
from scalax_text.layers import EncoderStack, FullAttention, Mlp, embedding
from scalax_text.shape import PairShape


class DecoderBlock(nnx.Module):
    """Causal attention, attention to the source and an MLP, each with a norm before it."""

    def __init__(self, s: sx.TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.attention_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.attention = sx.Attention(s, rngs, dtype=dtype)
        self.cross_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.cross = FullAttention(s, rngs, dtype=dtype)
        self.mlp_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.mlp = Mlp(s, rngs, dtype=dtype)

    def __call__(
        self, x_BxTxD: jax.Array, memory_BxSxD: jax.Array, real_BxS: jax.Array
    ) -> jax.Array:
        """Adds all three to the residual stream."""
        x_BxTxD = x_BxTxD + self.attention(self.attention_norm(x_BxTxD))
        x_BxTxD = x_BxTxD + self.cross(self.cross_norm(x_BxTxD), memory_BxSxD, real_BxS)
        return x_BxTxD + self.mlp(self.mlp_norm(x_BxTxD))


class Translator(nnx.Module):
    """An encoder of the source, and a decoder of the target that attends to it.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(self, shape: PairShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s = shape.dense
        self.embedding = embedding(rngs, s.vocab, s.width, ("vocab", "embed"))
        self.encoder = EncoderStack(s, shape.source_len, rngs=rngs, compute=compute)
        self.blocks = sx.stacked_layers(
            s.layers, rngs, lambda rngs: DecoderBlock(s, rngs, dtype=compute.dtype)
        )
        self.norm = sx.RMSNorm(s.width, dtype=compute.dtype)
        self.vocab, self.compute = s.vocab, compute

    def hidden(self, source_BxS: jax.Array, target_BxT: jax.Array) -> jax.Array:
        """Returns normalised activations [B, T, D]; position t depends on the target before t.

        Padding follows the end of a target, so causal attention keeps it out of earlier positions.
        """
        table = self.embedding[...].astype(self.compute.dtype)
        real_BxS = source_BxS != PAD
        memory_BxSxD = self.encoder(table[source_BxS], real_BxS)
        before_BxT = jnp.pad(target_BxT[:, :-1], ((0, 0), (1, 0)), constant_values=PAD)
        graph, params = nnx.split(self.blocks)

        def block(x: jax.Array, one: Any) -> jax.Array:
            decoded = nnx.merge(graph, one)(x, memory_BxSxD, real_BxS)
            return sx.constrain(decoded, "batch", None, None)

        x_BxTxD = sx.constrain(table[before_BxT], "batch", None, None)
        return self.norm(self.compute.layers(block, x_BxTxD, params))

    def logits(self, x_BxTxD: jax.Array) -> jax.Array:
        """Applies the head, which is the embedding: activations to logits [B, T, V]."""
        batch, length, width = x_BxTxD.shape
        flat = x_BxTxD.reshape(-1, width) @ self.embedding[...].astype(x_BxTxD.dtype).T
        return flat.reshape(batch, length, self.vocab)


def translate(module: Translator, source_BxS: np.ndarray, length: int) -> np.ndarray:
    """Translates greedily: returns the most likely number at each position, int32 [B, length].

    It computes the whole target again for each position. Use it to inspect results, not to serve.
    """

    def predicted(module: Translator, source: jax.Array, target: jax.Array) -> jax.Array:
        return jnp.argmax(module.logits(module.hidden(source, target)), axis=-1)

    predict = nnx.jit(predicted)
    target = np.full((len(source_BxS), length), PAD, np.int32)
    for position in range(length):
        target[:, position] = np.asarray(predict(module, source_BxS, target))[:, position]
    target[np.cumsum(target == END, axis=1) - (target == END) > 0] = PAD
    return target


def pair_sums(
    module: Translator, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns the metrics of a batch, summed over the bytes and ends of the targets.

    Args:
        module: The model.
        batch: ``source`` [B, S], ``target`` [B, T] and ``mask`` [B].

    Returns:
        Sums of ``loss`` in nats, ``accuracy`` and ``error_rate``, and the number of bytes and ends;
        float32.
    """
    target_BxT = batch["target"]
    real_BxT = (target_BxT != PAD) * batch["mask"].astype(jnp.float32)[:, None]
    logits_BxTxV = module.logits(module.hidden(batch["source"], target_BxT))
    return sx.label_sums(logits_BxTxV, target_BxT, real_BxT)
