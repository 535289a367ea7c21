"""Implements the decoder-only transformer that `scalax.shapes.transformer` describes, in Flax NNX.

Letters in names are dimensions: B batch, L positions, D width, H query heads, G key-value heads,
K head width, V vocabulary. Parameters are float32 and have logical axis names. Activations have
the dtype of `Compute`; normalisation statistics and the loss are float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scalax.array_types import AnyArray, Float, Num, Shaped
from scalax.models.attention import attend
from scalax.models.compute import Compute, constrain
from scalax.models.cross_entropy import summed_cross_entropy
from scalax.models.stacked import stacked_layers
from scalax.shapes.transformer import TransformerShape

_EPSILON = 1e-6
_ROTARY_BASE = 10_000.0
_EMBED_STD = 0.02


class Matrix(nnx.Module):
    """A linear map without bias, with one or more input and output axes.

    Args:
        rngs: Random keys of the initial kernel.
        shape: Shape of the kernel: input axes, then output axes.
        names: Logical axis names of the kernel.
        inputs: Number of input axes.
        std: Standard deviation of the initial kernel, a truncated normal.
        dtype: The dtype of the product.
        rate_scale: Factor of the learning rate for this kernel.
    """

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

    def __call__(self, x: Num[AnyArray, "*inputs"]) -> Float[jax.Array, "*outputs"]:
        """Contracts the last ``inputs`` axes of x with the first axes of the kernel.

        The product is one of two matrices: with more axes, XLA transposes activations on a CPU.
        """
        kernel = self.kernel[...].astype(self.dtype)
        outer, outputs = x.shape[: x.ndim - self.inputs], kernel.shape[self.inputs :]
        rows, columns = math.prod(outer), math.prod(outputs)
        flat = _product(x.astype(self.dtype).reshape(rows, -1), kernel.reshape(-1, columns))
        return flat.reshape(*outer, *outputs)


@jax.custom_vjp
def _product(x_RxI: Float[jax.Array, "R I"], k_IxO: Float[jax.Array, "I O"]) -> jax.Array:
    """Multiplies matrices and computes the kernel's gradient in the kernel's layout, [I, O].

    JAX would derive the transposed gradient, which costs a strided copy of all parameters on a CPU.
    """
    return x_RxI @ k_IxO


def _product_forward(
    x_RxI: Float[jax.Array, "R I"], k_IxO: Float[jax.Array, "I O"]
) -> tuple[Float[jax.Array, "R O"], tuple[jax.Array, jax.Array]]:
    return x_RxI @ k_IxO, (x_RxI, k_IxO)


def _product_backward(
    residuals: tuple[jax.Array, jax.Array], d_out: Float[jax.Array, "R O"]
) -> tuple[Float[jax.Array, "R I"], Float[jax.Array, "I O"]]:
    x_RxI, k_IxO = residuals
    return d_out @ k_IxO.T, x_RxI.T @ d_out


_product.defvjp(_product_forward, _product_backward)


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation with a learned scale (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, *, dtype: Any) -> None:
        self.scale = nnx.Param(
            jnp.ones(width, jnp.float32), out_sharding=("norm",), eager_sharding=False
        )
        self.dtype = dtype

    def __call__(self, x: Num[AnyArray, "*batch width"]) -> Float[jax.Array, "*batch width"]:
        """Normalises the last axis, in float32."""
        x32 = x.astype(jnp.float32)
        norm = jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + _EPSILON)
        return (x32 * norm * self.scale[...]).astype(self.dtype)


class Attention(nnx.Module):
    """Causal self-attention with rotary positions and grouped key-value heads."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        std, rate_scale = s.width**-0.5, 1 / s.widening
        kv = (s.width, s.kv_heads, s.head_dim)
        self.query = Matrix(
            rngs,
            (s.width, s.heads, s.head_dim),
            ("embed", "heads", "head_dim"),
            inputs=1,
            std=std,
            dtype=dtype,
            rate_scale=rate_scale,
        )
        names = ("embed", "kv_heads", "head_dim")
        self.key = Matrix(rngs, kv, names, inputs=1, std=std, dtype=dtype, rate_scale=rate_scale)
        self.value = Matrix(rngs, kv, names, inputs=1, std=std, dtype=dtype, rate_scale=rate_scale)
        self.out = Matrix(
            rngs,
            (s.heads, s.head_dim, s.width),
            ("heads", "head_dim", "embed"),
            inputs=2,
            std=(s.heads * s.head_dim) ** -0.5 * (2 * s.layers) ** -0.5,
            dtype=dtype,
            rate_scale=rate_scale,
        )
        self.score_scale = s.score_scale

    def __call__(self, x_BxLxD: Float[jax.Array, "B L D"]) -> Float[jax.Array, "B L D"]:
        """Attends from each position to itself and to earlier positions."""
        qkv = (self.query(x_BxLxD), self.key(x_BxLxD), self.value(x_BxLxD))
        q_BxHxLxK, k_BxGxLxK, v_BxGxLxK = (jnp.swapaxes(part, 1, 2) for part in qkv)
        rotation = rotary(x_BxLxD.shape[1], q_BxHxLxK.shape[-1])
        mixed_BxHxLxK = attend(
            rotate(q_BxHxLxK, rotation),
            rotate(k_BxGxLxK, rotation),
            v_BxGxLxK,
            scale=self.score_scale,
        )
        return self.out(jnp.swapaxes(mixed_BxHxLxK, 1, 2))


class Mlp(nnx.Module):
    """A SwiGLU (Shazeer 2020) or plain GELU MLP."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        def input_matrix() -> Matrix:
            return Matrix(
                rngs,
                (s.width, s.hidden),
                ("embed", "mlp"),
                inputs=1,
                std=s.width**-0.5,
                dtype=dtype,
                rate_scale=1 / s.widening,
            )

        self.up = input_matrix()
        self.gate = input_matrix() if s.gated else None
        self.down = Matrix(
            rngs,
            (s.hidden, s.width),
            ("mlp", "embed"),
            inputs=1,
            std=s.hidden**-0.5 * (2 * s.layers) ** -0.5,
            dtype=dtype,
            rate_scale=1 / s.widening,
        )

    def __call__(self, x_BxLxD: Float[jax.Array, "B L D"]) -> Float[jax.Array, "B L D"]:
        """Maps each position independently."""
        hidden = self.up(x_BxLxD)
        if self.gate is None:
            return self.down(jax.nn.gelu(hidden))
        return self.down(jax.nn.silu(self.gate(x_BxLxD)) * hidden)


class Block(nnx.Module):
    """Attention and MLP, each on a normalised copy of the residual stream."""

    def __init__(self, s: TransformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.attention_norm = RMSNorm(s.width, dtype=dtype)
        self.attention = Attention(s, rngs, dtype=dtype)
        self.mlp_norm = RMSNorm(s.width, dtype=dtype)
        self.mlp = Mlp(s, rngs, dtype=dtype)

    def __call__(self, x_BxLxD: Float[jax.Array, "B L D"]) -> Float[jax.Array, "B L D"]:
        """Adds attention, then the MLP, to the residual stream."""
        x_BxLxD = x_BxLxD + self.attention(self.attention_norm(x_BxLxD))
        return x_BxLxD + self.mlp(self.mlp_norm(x_BxLxD))


class Decoder(nnx.Module):
    """The language model, from tokens [B, L] to logits [B, L, V].

    The parameters of all blocks are stacked along a leading axis, one slice per layer.

    Args:
        shape: The architecture.
        rngs: Random keys of the initial parameters.
        compute: Precision and recomputation.
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

    def __call__(self, tokens_BxL: Num[AnyArray, "B L"]) -> Float[jax.Array, "B L V"]:
        """Returns the logits of the next token at each position."""
        return self.logits(self.hidden(tokens_BxL))

    def hidden(self, tokens_BxL: Num[AnyArray, "B L"]) -> Float[jax.Array, "B L D"]:
        """Returns the normalised activations after the last block."""
        table = self.embedding[...].astype(self.compute.dtype)
        graph, stacked = nnx.split(self.blocks)

        def block(x_BxLxD: Float[jax.Array, "B L D"], params: Any) -> Float[jax.Array, "B L D"]:
            return constrain(nnx.merge(graph, params)(x_BxLxD), "batch", None, None)

        x_BxLxD = constrain(table[tokens_BxL], "batch", None, None)
        return self.norm(self.compute.layers(block, x_BxLxD, stacked))

    def logits(self, x_BxLxD: Float[jax.Array, "B L D"]) -> Float[jax.Array, "B L V"]:
        """Applies the head to activations."""
        x_BxLxD = x_BxLxD / self.widening
        if self.head is not None:
            return self.head(x_BxLxD)
        flat = x_BxLxD.reshape(-1, x_BxLxD.shape[-1]) @ self.embedding[...].astype(x_BxLxD.dtype).T
        return flat.reshape(*x_BxLxD.shape[:-1], self.vocab)


def rotary(
    length: int, head_dim: int
) -> tuple[Float[np.ndarray, "L half"], Float[np.ndarray, "L half"]]:
    """Returns cosines and sines of rotary positions (Su et al. 2021), each [L, K / 2], float32.

    They are numpy constants. If the program computed them, XLA would fuse that into each use and
    repeat it for every example and head.
    """
    rates = _ROTARY_BASE ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(length)[:, None] * rates
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rotate(
    x_BxHxLxK: Float[jax.Array, "B H L K"],
    rotation: tuple[Float[np.ndarray, "L half"], Float[np.ndarray, "L half"]],
) -> Float[jax.Array, "B H L K"]:
    """Rotates each pair of elements (k, k + K / 2) by the angle of its position.

    Args:
        x_BxHxLxK: Queries or keys.
        rotation: Cosines and sines from `rotary`.
    """
    cos, sin = rotation
    first, second = jnp.split(x_BxHxLxK.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x_BxHxLxK.dtype)


def next_token_sums(
    module: Decoder, batch: Mapping[str, Shaped[AnyArray, "B ..."]]
) -> tuple[dict[str, Float[jax.Array, ""]], Float[jax.Array, ""]]:
    """Returns the summed cross-entropy of the next tokens, in nats.

    Args:
        module: The model.
        batch: ``tokens`` [B, L + 1] and ``mask`` [B], numpy or jax arrays.

    Returns:
        ``{"loss": sum}`` and the number of tokens predicted, float32.
    """
    tokens = jnp.asarray(batch["tokens"])
    inputs_BxL, targets_BxL = tokens[:, :-1], tokens[:, 1:]
    weight_B = jnp.asarray(batch["mask"], jnp.float32)
    x_BxLxD = module.hidden(inputs_BxL)
    nats = summed_cross_entropy(module.logits, x_BxLxD, targets_BxL, weight_B, module.vocab)
    return {"loss": nats}, jnp.sum(weight_B) * targets_BxL.shape[1]
