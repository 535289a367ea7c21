"""The decoder-only transformer in Flax NNX: what `scalax.shapes.transformer` counts.

Letters in names are dimensions: B batch, L tokens, D width, H heads, K head width, V vocabulary.
Parameters are float32 and carry logical axis names; compute runs in the dtype given, the
normalisation statistics and the loss in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scalax.models.attention import attend
from scalax.models.compute import Compute, constrain
from scalax.models.cross_entropy import summed_cross_entropy
from scalax.models.stacked import stacked_layers
from scalax.shapes.transformer import TransformerShape

_EPSILON = 1e-6
_ROTARY_BASE = 10_000.0
_EMBED_STD = 0.02


class Matrix(nnx.Module):
    """A linear map without bias, contracted over the leading input axes."""

    def __init__(
        self,
        rngs: nnx.Rngs,
        shape: tuple[int, ...],
        names: tuple[str, ...],
        *,
        inputs: int,
        std: float,
        dtype: Any,
        rate_scale: float = 1.0,
    ) -> None:
        init = nnx.initializers.truncated_normal(std)
        self.kernel = nnx.Param(
            init(rngs.params(), shape, jnp.float32),
            out_sharding=names,
            eager_sharding=False,
            rate_scale=rate_scale,
        )
        self.inputs, self.dtype = inputs, dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Contracts the last ``inputs`` axes of x with the first of the kernel.

        As one product of two matrices: with more axes, XLA transposes activations on a CPU.
        """
        kernel = self.kernel[...].astype(self.dtype)
        outer, outputs = x.shape[: x.ndim - self.inputs], kernel.shape[self.inputs :]
        rows, columns = math.prod(outer), math.prod(outputs)
        flat = _product(x.astype(self.dtype).reshape(rows, -1), kernel.reshape(-1, columns))
        return flat.reshape(*outer, *outputs)


@jax.custom_vjp
def _product(x_RxI: jax.Array, k_IxO: jax.Array) -> jax.Array:
    """Multiplies matrices; the derivative has the layout of the kernel, [I, O].

    The one that jax derives is its transpose: on a CPU, a strided copy of all parameters.
    """
    return x_RxI @ k_IxO


def _product_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x @ w, (x, w)


def _product_backward(
    kept: tuple[jax.Array, jax.Array], d_out: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = kept
    return d_out @ w.T, x.T @ d_out


_product.defvjp(_product_forward, _product_backward)


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation with a learned scale (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, *, dtype: Any) -> None:
        self.scale = nnx.Param(
            jnp.ones(width, jnp.float32), out_sharding=("norm",), eager_sharding=False
        )
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises the last axis, in float32."""
        wide = x.astype(jnp.float32)
        norm = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + _EPSILON)
        return (wide * norm * self.scale[...]).astype(self.dtype)


class Attention(nnx.Module):
    """Causal self-attention with rotary positions and grouped key-value heads."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        std, slower = s.width**-0.5, 1 / s.widening
        kv = (s.width, s.kv_heads, s.head_dim)
        self.query = Matrix(
            rngs,
            (s.width, s.heads, s.head_dim),
            ("embed", "heads", "head_dim"),
            inputs=1,
            std=std,
            dtype=dtype,
            rate_scale=slower,
        )
        names = ("embed", "kv_heads", "head_dim")
        self.key = Matrix(rngs, kv, names, inputs=1, std=std, dtype=dtype, rate_scale=slower)
        self.value = Matrix(rngs, kv, names, inputs=1, std=std, dtype=dtype, rate_scale=slower)
        self.out = Matrix(
            rngs,
            (s.heads, s.head_dim, s.width),
            ("heads", "head_dim", "embed"),
            inputs=2,
            std=(s.heads * s.head_dim) ** -0.5 * (2 * s.layers) ** -0.5,
            dtype=dtype,
            rate_scale=slower,
        )
        self.score_scale = s.score_scale

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        """Attends, each position to itself and those before it."""
        qkv = (self.query(x_BxLxD), self.key(x_BxLxD), self.value(x_BxLxD))
        q_BxHxLxK, k_BxGxLxK, v_BxGxLxK = (jnp.swapaxes(part, 1, 2) for part in qkv)
        turn = rotary(x_BxLxD.shape[1], q_BxHxLxK.shape[-1])
        mixed_BxHxLxK = attend(
            rotate(q_BxHxLxK, turn), rotate(k_BxGxLxK, turn), v_BxGxLxK, scale=self.score_scale
        )
        return self.out(jnp.swapaxes(mixed_BxHxLxK, 1, 2))


class Mlp(nnx.Module):
    """A SwiGLU (Shazeer 2020) or plain GELU MLP."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        def into() -> Matrix:
            return Matrix(
                rngs,
                (s.width, s.hidden),
                ("embed", "mlp"),
                inputs=1,
                std=s.width**-0.5,
                dtype=dtype,
                rate_scale=1 / s.widening,
            )

        self.up = into()
        self.gate = into() if s.gated else None
        self.down = Matrix(
            rngs,
            (s.hidden, s.width),
            ("mlp", "embed"),
            inputs=1,
            std=s.hidden**-0.5 * (2 * s.layers) ** -0.5,
            dtype=dtype,
            rate_scale=1 / s.widening,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps each position on its own."""
        wide = self.up(x)
        wide = jax.nn.gelu(wide) if self.gate is None else jax.nn.silu(self.gate(x)) * wide
        return self.down(wide)


class Block(nnx.Module):
    """Attention and MLP, each on a normalised copy of the residual stream."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.attention_norm = RMSNorm(s.width, dtype=dtype)
        self.attention = Attention(s, rngs, dtype=dtype)
        self.mlp_norm = RMSNorm(s.width, dtype=dtype)
        self.mlp = Mlp(s, rngs, dtype=dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds both to the residual stream."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Decoder(nnx.Module):
    """The language model: tokens [B, L] to logits [B, L, V].

    The blocks' parameters are stacked on a leading axis, one slice a layer.

    Args:
        shape: The architecture.
        rngs: For the initial parameters.
        compute: How to compute.
    """

    def __init__(self, shape: TransformerShape, *, rngs: nnx.Rngs, compute: Compute) -> None:
        s, dtype = shape, compute.dtype
        init = nnx.initializers.truncated_normal(_EMBED_STD if s.tied else 1.0)
        table = init(rngs.params(), (s.vocab, s.width), jnp.float32)
        self.embedding = nnx.Param(table, out_sharding=("vocab", "embed"), eager_sharding=False)
        self.blocks = stacked_layers(s.layers, rngs, lambda rngs: Block(s, rngs, dtype=dtype))
        self.norm = RMSNorm(s.width, dtype=dtype)
        self.head = (
            None
            if s.tied
            else Matrix(
                rngs,
                (s.width, s.vocab),
                ("embed", "vocab"),
                inputs=1,
                std=(s.base_width or s.width) ** -0.5,
                dtype=dtype,
            )
        )
        self.vocab, self.widening, self.compute = s.vocab, s.widening, compute

    def __call__(self, tokens_BxL: jax.Array) -> jax.Array:
        """Logits of the next token at each position."""
        return self.logits(self.hidden(tokens_BxL))

    def hidden(self, tokens_BxL: jax.Array) -> jax.Array:
        """Normalised activations [B, L, D] after the last block."""
        table = self.embedding[...].astype(self.compute.dtype)
        graph, stacked = nnx.split(self.blocks)

        def block(x_BxLxD: jax.Array, params: Any) -> jax.Array:
            return constrain(nnx.merge(graph, params)(x_BxLxD), "batch", None, None)

        x_BxLxD = constrain(table[tokens_BxL], "batch", None, None)
        return self.norm(self.compute.layers(block, x_BxLxD, stacked))

    def logits(self, x_BxLxD: jax.Array) -> jax.Array:
        """The head: activations [B, L, D] to logits [B, L, V]."""
        x_BxLxD = x_BxLxD / self.widening
        if self.head is not None:
            return self.head(x_BxLxD)
        flat = x_BxLxD.reshape(-1, x_BxLxD.shape[-1]) @ self.embedding[...].astype(x_BxLxD.dtype).T
        return flat.reshape(*x_BxLxD.shape[:-1], self.vocab)


def rotary(length: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of rotary positions (Su et al. 2021), each [L, K / 2], float32.

    They are constants of the program: left to it, XLA fuses them into what uses them, and works
    them out again for each example and head.
    """
    rates = _ROTARY_BASE ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(length)[:, None] * rates
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotate(x_BxHxLxK: jax.Array, turn: tuple[np.ndarray, np.ndarray]) -> jax.Array:
    """Turns each pair (k, k + K / 2) by its position's angle."""
    cos, sin = turn
    first, second = jnp.split(x_BxHxLxK.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BxHxLxK.dtype)


def next_token_sums(
    module: Decoder, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Summed cross-entropy of each next token, in nats.

    Args:
        module: The model.
        batch: ``tokens`` [B, L + 1] and ``mask`` [B].

    Returns:
        ``{"loss": sum}`` and the number of tokens it is over, float32.
    """
    tokens = batch["tokens"]
    targets = tokens[:, 1:]
    weight = batch["mask"].astype(jnp.float32)
    x_BxLxD = module.hidden(tokens[:, :-1])
    nats = summed_cross_entropy(module.logits, x_BxLxD, targets, weight, module.vocab)
    return {"loss": nats}, jnp.sum(weight) * targets.shape[1]
