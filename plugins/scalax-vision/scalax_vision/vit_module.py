"""The Vision Transformer in Flax NNX; `scalax_vision.vit_shape` counts it. Imports jax.

Letters in names are dimensions: B batch, L tokens, D width, H heads, K head width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import scalax as sx
from scalax_vision.layers import Layer, Stack, named, zeros
from scalax_vision.vit_shape import ViTShape

_POSITION_STD = 0.02
_SINCOS_BASE = 10_000.0


class Linear(nnx.Module):
    """A linear map with bias over the last axes.

    Args:
        rngs: Random stream for the kernel; the bias starts at zero.
        shape: Input axes, then output axes.
        names: Logical axis names of inputs and outputs.
        inputs: Number of input axes.
        gain: Factor on the initial standard deviation, 1 / sqrt(inputs).
        dtype: Dtype to compute in.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        shape: tuple[int, ...],
        names: tuple[str, ...],
        *,
        inputs: int = 1,
        gain: float = 1.0,
        dtype: Any,
    ) -> None:
        std = gain * float(np.prod(shape[:inputs])) ** -0.5
        self.matrix = sx.Matrix(rngs, shape, names, inputs=inputs, std=std, dtype=dtype)
        self.bias = zeros(shape[inputs:], names[inputs:])
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the map to the last axes of x."""
        return self.matrix(x) + self.bias[...].astype(self.dtype)


class Block(nnx.Module):
    """Full attention and an MLP, each with a norm before it and a residual connection."""

    def __init__(self, s: ViTShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        residual_gain = (2 * s.layers) ** -0.5
        heads = (s.heads, s.head_dim)
        self.attention_norm = _norm(s.width, rngs, dtype)
        self.qkv = Linear(
            rngs, (s.width, 3, *heads), ("embed", "qkv", "heads", "head_dim"), dtype=dtype
        )
        self.out = Linear(
            rngs,
            (*heads, s.width),
            ("heads", "head_dim", "embed"),
            inputs=2,
            gain=residual_gain,
            dtype=dtype,
        )
        self.mlp_norm = _norm(s.width, rngs, dtype)
        self.up = Linear(rngs, (s.width, s.hidden), ("embed", "mlp"), dtype=dtype)
        self.down = Linear(
            rngs, (s.hidden, s.width), ("mlp", "embed"), gain=residual_gain, dtype=dtype
        )

    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        """Returns the residual stream after the block."""
        qkv_BxLx3xHxK = self.qkv(self.attention_norm(x_BxLxD))
        q_BxHxLxK, k_BxHxLxK, v_BxHxLxK = (
            jnp.swapaxes(qkv_BxLx3xHxK[:, :, part], 1, 2) for part in range(3)
        )
        mixed_BxHxLxK = attend(q_BxHxLxK, k_BxHxLxK, v_BxHxLxK)
        x_BxLxD = x_BxLxD + self.out(jnp.swapaxes(mixed_BxHxLxK, 1, 2))
        return x_BxLxD + self.down(jax.nn.gelu(self.up(self.mlp_norm(x_BxLxD))))


class VisionTransformer(nnx.Module):
    """A classifier of images.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(self, shape: ViTShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s, dtype = shape, compute.dtype
        self.patches = Layer(rngs, (s.patch_values, s.width), ("image", "embed"), dtype=dtype)
        self.token = zeros((s.width,), ("norm",)) if s.pool == "token" else None
        self.learned = None
        if s.positions == "learned":
            init = _POSITION_STD * jax.random.normal(rngs.params(), (s.length, s.width))
            names = ("position", "embed")
            self.learned = nnx.data(nnx.Param(init, out_sharding=names, eager_sharding=False))

        def block(rngs: nnx.Rngs) -> Block:
            return Block(s, rngs, dtype=dtype)

        self.blocks = Stack(s.layers, block, rngs, compute)
        self.norm = _norm(s.width, rngs, dtype)
        self.head = Linear(rngs, (s.width, s.classes), ("embed", "classes"), dtype=dtype)
        self.shape, self.dtype = s, dtype

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns logits [batch, classes] of images [batch, height, width, channels]."""
        s = self.shape
        x_BxLxD = self.patches(split_patches(images.astype(self.dtype), s.patch))
        if self.learned is None:
            x_BxLxD = x_BxLxD + sincos(s.grid, s.width).astype(self.dtype)
        if self.token is not None:
            token = jnp.broadcast_to(
                self.token[...].astype(self.dtype), (x_BxLxD.shape[0], 1, s.width)
            )
            x_BxLxD = jnp.concatenate([token, x_BxLxD], axis=1)
        if self.learned is not None:
            x_BxLxD = x_BxLxD + self.learned[...].astype(self.dtype)
        x_BxLxD = self.norm(self.blocks(x_BxLxD))
        if self.token is not None:
            return self.head(x_BxLxD[:, 0])
        return self.head(jnp.mean(x_BxLxD.astype(jnp.float32), axis=1))


def _norm(width: int, rngs: nnx.Rngs, dtype: Any) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        width,
        dtype=dtype,
        scale_init=named(nnx.initializers.ones),
        bias_init=named(nnx.initializers.zeros),
        rngs=rngs,
    )


def attend(q_BxHxLxK: jax.Array, k_BxHxLxK: jax.Array, v_BxHxLxK: jax.Array) -> jax.Array:
    """Applies full scaled dot-product attention: [B, H, L, K]."""
    scaled = q_BxHxLxK * q_BxHxLxK.shape[-1] ** -0.5
    scores_BxHxLxL = jnp.einsum("bhqk,bhlk->bhql", scaled, k_BxHxLxK)
    weights_BxHxLxL = jax.nn.softmax(scores_BxHxLxL.astype(jnp.float32)).astype(v_BxHxLxK.dtype)
    return jnp.einsum("bhql,bhlk->bhqk", weights_BxHxLxL, v_BxHxLxK)


def split_patches(images: jax.Array, patch: int) -> jax.Array:
    """Splits images [batch, height, width, channels] into [batch, patches, values], row by row."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch, width // patch
    x = images.reshape(batch, rows, patch, columns, patch, channels)
    return jnp.swapaxes(x, 2, 3).reshape(batch, rows * columns, patch * patch * channels)


def sincos(grid: tuple[int, int], width: int) -> np.ndarray:
    """Returns fixed positions [patches, width]: sines and cosines of columns and rows, float32.

    Each of the four takes a quarter of the width, as in Beyer et al. 2022 (arXiv:2205.01580). The
    remaining values are zero.
    """
    quarter = width // 4
    rates = _SINCOS_BASE ** (-np.arange(quarter) / max(1, quarter - 1))
    rows, columns = (axis.reshape(-1, 1) * rates for axis in np.mgrid[: grid[0], : grid[1]])
    waves = [np.sin(columns), np.cos(columns), np.sin(rows), np.cos(rows)]
    rest = np.zeros((rows.shape[0], width - 4 * quarter))
    return np.concatenate([*waves, rest], axis=1).astype(np.float32)
