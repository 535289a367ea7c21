"""The Conformer in Flax NNX; `scalax_speech.shape` counts it. Imports jax.

Letters in names are dimensions: B batch, T time steps, M mels, D width, H heads, K head width.
Parameters are float32 and carry logical axis names. Layers compute in the given dtype, statistics
of norms and the loss in float32.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import scalax as sx
from scalax_speech.shape import SPAN, STRIDE, ConformerShape

_ROTARY_BASE = 10_000.0


class Strided(nnx.Module):
    """A convolution over time with kernel 3, stride 2 and no padding, followed by Swish.

    It is one product of all windows with the kernel, which is also how its FLOPs are counted.
    """

    def __init__(self, rngs: nnx.Rngs, inputs: int, outputs: int, *, dtype: Any) -> None:
        init = nnx.initializers.truncated_normal((SPAN * inputs) ** -0.5)
        self.kernel = nnx.Param(
            init(rngs.params(), (SPAN, inputs, outputs), jnp.float32),
            out_sharding=("span", "inputs", "embed"),
            eager_sharding=False,
        )
        self.dtype = dtype

    def __call__(self, x_BxTxI: jax.Array) -> jax.Array:
        """Maps [B, T, inputs] to [B, (T - 3) // 2 + 1, outputs]."""
        kernel = self.kernel[...].astype(self.dtype)
        count = (x_BxTxI.shape[1] - SPAN) // STRIDE + 1
        shifted = [x_BxTxI[:, k : k + STRIDE * count : STRIDE][:, :count] for k in range(SPAN)]
        windows = jnp.concatenate(shifted, axis=-1).astype(self.dtype)
        return jax.nn.silu(windows @ kernel.reshape(-1, kernel.shape[-1]))


class FeedForward(nnx.Module):
    """A norm and two linear maps with Swish between them (section 2.3 of the paper)."""

    def __init__(self, s: ConformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.norm = sx.RMSNorm(s.width, dtype=dtype)
        self.up = _matrix(rngs, (s.width, s.hidden), ("embed", "mlp"), dtype=dtype)
        self.down = _matrix(rngs, (s.hidden, s.width), ("mlp", "embed"), dtype=dtype, residual=s)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the layers to each time step."""
        return self.down(jax.nn.silu(self.up(self.norm(x))))


class Attention(nnx.Module):
    """A norm and full attention with rotary positions (section 2.1)."""

    def __init__(self, s: ConformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        into = (s.width, s.heads, s.width // s.heads)
        names = ("embed", "heads", "head_dim")
        self.norm = sx.RMSNorm(s.width, dtype=dtype)
        self.query = _matrix(rngs, into, names, dtype=dtype)
        self.key = _matrix(rngs, into, names, dtype=dtype)
        self.value = _matrix(rngs, into, names, dtype=dtype)
        out = (*into[1:], s.width)
        names = ("heads", "head_dim", "embed")
        self.out = _matrix(rngs, out, names, inputs=2, dtype=dtype, residual=s)

    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        """Applies attention over time."""
        x = self.norm(x_BxTxD)
        q_BxTxHxK, k_BxTxHxK, v_BxTxHxK = self.query(x), self.key(x), self.value(x)
        angles = _rotary(q_BxTxHxK.shape[1], q_BxTxHxK.shape[-1])
        q_BxTxHxK, k_BxTxHxK = _rotate(q_BxTxHxK, angles), _rotate(k_BxTxHxK, angles)
        scores = jnp.einsum("bthk,bshk->bhts", q_BxTxHxK, k_BxTxHxK).astype(jnp.float32)
        weights = jax.nn.softmax(scores * q_BxTxHxK.shape[-1] ** -0.5, axis=-1)
        return self.out(jnp.einsum("bhts,bshk->bthk", weights.astype(x.dtype), v_BxTxHxK))


class Convolution(nnx.Module):
    """Norm, gated linear unit, depthwise convolution over time, norm, Swish, linear (section 2.2).

    The norm after the convolution is not the paper's BatchNorm, since an example's loss must not
    depend on the rest of its batch or on its sharding.
    """

    def __init__(self, s: ConformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        square = (s.width, s.width)
        self.norm = sx.RMSNorm(s.width, dtype=dtype)
        self.value = _matrix(rngs, square, ("embed", "channels"), dtype=dtype)
        self.gate = _matrix(rngs, square, ("embed", "channels"), dtype=dtype)
        init = nnx.initializers.truncated_normal(s.kernel**-0.5)
        self.depthwise = nnx.Param(
            init(rngs.params(), (s.kernel, s.width), jnp.float32),
            out_sharding=("span", "channels"),
            eager_sharding=False,
        )
        self.inner_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.out = _matrix(rngs, square, ("channels", "embed"), dtype=dtype, residual=s)
        self.dtype = dtype

    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        """Applies the module to [B, T, D]."""
        x = self.norm(x_BxTxD)
        x = self.value(x) * jax.nn.sigmoid(self.gate(x))
        x = depthwise(x, self.depthwise[...].astype(self.dtype))
        return self.out(jax.nn.silu(self.inner_norm(x)))


class Block(nnx.Module):
    """Half a feed-forward step, attention, convolution, another half step, norm (equation 1)."""

    def __init__(self, s: ConformerShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        self.before = FeedForward(s, rngs, dtype=dtype)
        self.attention = Attention(s, rngs, dtype=dtype)
        self.convolution = Convolution(s, rngs, dtype=dtype)
        self.after = FeedForward(s, rngs, dtype=dtype)
        self.norm = sx.RMSNorm(s.width, dtype=dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Adds each part to the residual stream."""
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x)
        x = x + self.convolution(x)
        return self.norm(x + 0.5 * self.after(x))


class Recogniser(nnx.Module):
    """The classifier: log-mel features [B, frames, M] to logits [B, classes].

    The parameters of the blocks are stacked on a leading axis of layers.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(self, shape: ConformerShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s, dtype = shape, compute.dtype
        self.first = Strided(rngs, s.mels, s.width, dtype=dtype)
        self.second = Strided(rngs, s.width, s.width, dtype=dtype)

        def block(rngs: nnx.Rngs) -> Block:
            return Block(s, rngs, dtype=dtype)

        self.blocks = sx.stacked_layers(s.layers, rngs, block)
        self.head = _matrix(rngs, (s.width, s.classes), ("embed", "classes"), dtype=dtype)
        self.compute = compute

    def __call__(self, features_BxTxM: jax.Array) -> jax.Array:
        """Returns the logits of each example."""
        graph, stacked = nnx.split(self.blocks)

        def block(x_BxTxD: jax.Array, params: Any) -> jax.Array:
            return sx.constrain(nnx.merge(graph, params)(x_BxTxD), "batch", None, None)

        x_BxTxD = self.second(self.first(features_BxTxM))
        x_BxTxD = sx.constrain(x_BxTxD, "batch", None, None)
        x_BxTxD = self.compute.layers(block, x_BxTxD, stacked)
        return self.head(jnp.mean(x_BxTxD, axis=1))


def depthwise(x_BxTxD: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves each channel over time with its own kernel, padded with zeros at both ends.

    It is a sum of shifted products. XLA's grouped convolution takes seven times as long on a CPU
    (batch 32, 24 time steps, width 64, kernel 9).
    """
    span, count = kernel.shape[0], x_BxTxD.shape[1]
    padded = jnp.pad(x_BxTxD, ((0, 0), (span // 2, span // 2), (0, 0)))
    return sum(
        (padded[:, k : k + count] * kernel[k] for k in range(1, span)),
        start=padded[:, :count] * kernel[0],
    )


def _matrix(
    rngs: nnx.Rngs,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    *,
    dtype: Any,
    inputs: int = 1,
    residual: ConformerShape | None = None,
) -> sx.Matrix:
    """Returns a linear map with initial gain 1, or less if it adds to the residual stream."""
    std = math.prod(shape[:inputs]) ** -0.5
    if residual is not None:
        std *= (4 * residual.layers) ** -0.5  # each block adds four of them
    return sx.Matrix(rngs, shape, names, inputs=inputs, std=std, dtype=dtype)


def _rotary(length: int, head_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cosines and sines [T, 1, K / 2] of rotary positions (arXiv:2104.09864)."""
    rates = _ROTARY_BASE ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = (np.arange(length)[:, None] * rates)[:, None]
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotate(x_BxTxHxK: jax.Array, angles: tuple[np.ndarray, np.ndarray]) -> jax.Array:
    """Rotates each pair (k, k + K / 2) by the angle of its time step."""
    cos, sin = angles
    first, second = jnp.split(x_BxTxHxK.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x_BxTxHxK.dtype)
