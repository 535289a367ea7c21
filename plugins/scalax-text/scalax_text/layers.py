"""What both families are built of, in Flax NNX: attention that sees all, MLP, encoder. Imports jax.

Parameters are float32 and carry logical axis names; compute runs in the dtype given, scores and
norms in float32. Letters in names are dimensions: B batch, L and S positions, D width, H heads, K
head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import scalax as sx

_EMBED_STD = 0.02
_LEAST = -0.7 * float(np.finfo(np.float32).max)


class FullAttention(nnx.Module):
    """Attention to every position of a memory that is no padding; no positions of its own.

    Args:
        s: The architecture.
        rngs: For the initial parameters.
        dtype: To compute in.
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
        """Mixes the memory's values for each position of x.

        Args:
            x_BxLxD: What asks.
            memory_BxSxD: What is asked; x itself in an encoder.
            real_BxS: Whether a position of the memory is no padding.
        """
        q_BxLxHxK = self.query(x_BxLxD) * self.scale
        k_BxSxHxK, v_BxSxHxK = self.key(memory_BxSxD), self.value(memory_BxSxD)
        scores = jnp.einsum("blhk,bshk->bhls", q_BxLxHxK, k_BxSxHxK).astype(jnp.float32)
        scores = jnp.where(real_BxS[:, None, None, :], scores, _LEAST)
        shares_BxHxLxS = jax.nn.softmax(scores, axis=-1).astype(v_BxSxHxK.dtype)
        return self.out(jnp.einsum("bhls,bshk->blhk", shares_BxHxLxS, v_BxSxHxK))


class Mlp(nnx.Module):
    """Two matrices and a GELU, at each position on its own."""

    def __init__(self, s: sx.TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        up, down = (s.width, s.hidden), (s.hidden, s.width)
        deep = s.hidden**-0.5 * (2 * s.layers) ** -0.5
        self.up = sx.Matrix(rngs, up, ("embed", "mlp"), inputs=1, std=s.width**-0.5, dtype=dtype)
        self.down = sx.Matrix(rngs, down, ("mlp", "embed"), inputs=1, std=deep, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        """Maps each position."""
        return self.down(jax.nn.gelu(self.up(x_BxLxD)))


class EncoderBlock(nnx.Module):
    """Full attention and MLP, each on a normalised copy of the residual stream."""

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
    """Learned positions, blocks that see the whole text, and a last norm.

    Args:
        s: The architecture of a block, and how many there are.
        length: Positions.
        rngs: For the initial parameters.
        compute: How to compute.
    """

    def __init__(
        self, s: sx.TransformerShape, length: int, *, rngs: nnx.Rngs, compute: sx.Compute
    ) -> None:
        self.positions = embedding(rngs, length, s.width, ("positions", "embed"))
        self.blocks = stacked(
            s.layers, rngs, lambda rngs: EncoderBlock(s, rngs, dtype=compute.dtype)
        )
        self.norm = sx.RMSNorm(s.width, dtype=compute.dtype)
        self.compute = compute

    def __call__(self, x_BxLxD: jax.Array, real_BxL: jax.Array) -> jax.Array:
        """Embeddings to normalised activations, of padding too, which no other position sees."""
        positions = self.positions[...].astype(x_BxLxD.dtype)
        x_BxLxD = sx.constrain(x_BxLxD + positions, "batch", None, None)
        graph, params = nnx.split(self.blocks)

        def block(x: jax.Array, one: Any) -> jax.Array:
            return sx.constrain(nnx.merge(graph, one)(x, real_BxL), "batch", None, None)

        return self.norm(self.compute.layers(block, x_BxLxD, params))


def embedding(rngs: nnx.Rngs, rows: int, width: int, names: tuple[str, str]) -> nnx.Param:
    """A table of small random rows."""
    values = nnx.initializers.truncated_normal(_EMBED_STD)(rngs.params(), (rows, width))
    return nnx.Param(values, out_sharding=names, eager_sharding=False)


def stacked(layers: int, rngs: nnx.Rngs, make: Callable[[nnx.Rngs], Any]) -> Any:
    """So many blocks as one whose parameters have a leading axis ``layers``."""
    made = nnx.vmap(make, transform_metadata={nnx.PARTITION_NAME: "layers"})
    return nnx.split_rngs(splits=layers)(made)(rngs)
