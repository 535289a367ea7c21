"""Layers of both text families in Flax NNX: full attention, MLP and encoder. Imports jax.

Parameters are float32 and carry logical axis names. Layers compute in the given dtype, scores and
norms in float32. Letters in names are dimensions: B batch, L and S positions, D width, H heads, K
head width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import scalax as sx

_EMBED_STD = 0.02
_MASKED_SCORE = -0.7 * float(np.finfo(np.float32).max)


class FullAttention(nnx.Module):
    """Attention to every position of a memory that is not padding, without position encoding.

    Args:
        s: The architecture.
        rngs: Random streams for the initial parameters.
        dtype: Dtype to compute in.
    """

    def __init__(self, s: sx.TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        def into(names: str) -> sx.Matrix:
            axes = ("embed", names, "head_dim")
            sizes = (s.width, s.heads, s.head_dim)
            return sx.Matrix(rngs, sizes, axes, inputs=1, std=s.width**-0.5, dtype=dtype)

        self.query, self.key, self.value = into("heads"), into("kv_heads"), into("kv_heads")
        self.out = sx.Matrix(
            rngs,
            (s.heads, s.head_dim, s.width),
            ("heads", "head_dim", "embed"),
            inputs=2,
            std=(s.heads * s.head_dim) ** -0.5 * (2 * s.layers) ** -0.5,
            dtype=dtype,
        )
        self.scale = s.score_scale

    def __call__(
        self, x_BxLxD: jax.Array, memory_BxSxD: jax.Array, real_BxS: jax.Array
    ) -> jax.Array:
        """Returns a weighted mean of the memory's values for each position of x.

        Args:
            x_BxLxD: Input of the queries.
            memory_BxSxD: Input of the keys and values; x itself in an encoder.
            real_BxS: Whether a position of the memory is real, not padding.
        """
        q_BxLxHxK = self.query(x_BxLxD) * self.scale
        k_BxSxHxK, v_BxSxHxK = self.key(memory_BxSxD), self.value(memory_BxSxD)
        scores = jnp.einsum("blhk,bshk->bhls", q_BxLxHxK, k_BxSxHxK).astype(jnp.float32)
        scores = jnp.where(real_BxS[:, None, None, :], scores, _MASKED_SCORE)
        weights_BxHxLxS = jax.nn.softmax(scores, axis=-1).astype(v_BxSxHxK.dtype)
        return self.out(jnp.einsum("bhls,bshk->blhk", weights_BxHxLxS, v_BxSxHxK))


class Mlp(nnx.Module):
    """Two matrices with a GELU between them, applied to each position."""

    def __init__(self, s: sx.TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        up, down = (s.width, s.hidden), (s.hidden, s.width)
        down_std = s.hidden**-0.5 * (2 * s.layers) ** -0.5
        self.up = sx.Matrix(rngs, up, ("embed", "mlp"), inputs=1, std=s.width**-0.5, dtype=dtype)
        self.down = sx.Matrix(rngs, down, ("mlp", "embed"), inputs=1, std=down_std, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        """Applies the MLP."""
        return self.down(jax.nn.gelu(self.up(x_BxLxD)))


class EncoderBlock(nnx.Module):
    """Full attention and an MLP, each with a norm before it and a residual connection."""

    def __init__(self, s: sx.TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.attention_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.attention = FullAttention(s, rngs, dtype=dtype)
        self.mlp_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.mlp = Mlp(s, rngs, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array, real_BxL: jax.Array) -> jax.Array:
        """Adds both to the residual stream."""
        normed = self.attention_norm(x_BxLxD)
        x_BxLxD = x_BxLxD + self.attention(normed, normed, real_BxL)
        return x_BxLxD + self.mlp(self.mlp_norm(x_BxLxD))


class EncoderStack(nnx.Module):
    """Learned positions, blocks with full attention, and a final norm.

    Args:
        s: The architecture of a block, and the number of blocks.
        length: Number of positions.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(
        self, s: sx.TransformerShape, length: int, *, rngs: nnx.Rngs, compute: sx.Compute
    ) -> None:
        self.positions = embedding(rngs, length, s.width, ("positions", "embed"))
        self.blocks = sx.stacked_layers(
            s.layers, rngs, lambda rngs: EncoderBlock(s, rngs, dtype=compute.dtype)
        )
        self.norm = sx.RMSNorm(s.width, dtype=compute.dtype)
        self.compute = compute

    def __call__(self, x_BxLxD: jax.Array, real_BxL: jax.Array) -> jax.Array:
        """Maps embeddings to normalised activations; padding does not affect other positions."""
        positions = self.positions[...].astype(x_BxLxD.dtype)
        x_BxLxD = sx.constrain(x_BxLxD + positions, "batch", None, None)
        graph, params = nnx.split(self.blocks)

        def block(x: jax.Array, one: Any) -> jax.Array:
            return sx.constrain(nnx.merge(graph, one)(x, real_BxL), "batch", None, None)

        return self.norm(self.compute.layers(block, x_BxLxD, params))


def embedding(rngs: nnx.Rngs, rows: int, width: int, names: tuple[str, str]) -> nnx.Param:
    """Returns a table whose rows are small random vectors."""
    values = nnx.initializers.truncated_normal(_EMBED_STD)(rngs.params(), (rows, width))
    return nnx.Param(values, out_sharding=names, eager_sharding=False)
