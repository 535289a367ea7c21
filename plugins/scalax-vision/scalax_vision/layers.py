"""Layers of the image families. Imports jax.

Parameters are float32 and carry logical axis names. Layers compute in the given dtype, statistics
of norms and the loss in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx


class Layer(nnx.Module):
    """A kernel and an optional bias, applied as a linear map or as a convolution.

    The kernel is initialised by He et al. (arXiv:1502.01852, equation 10), minus the mean over the
    inputs of each output. Inputs here are never negative (pixels and outputs of ReLU), so a kernel
    with a negative mean would give a unit that is zero for every image. Over three seeds of the
    smallest `convnet` on 2,000 digits this halves the held-out loss and its spread.

    Args:
        rngs: Random stream for the kernel; the bias starts at zero.
        shape: Shape of the kernel, outputs last.
        names: Logical axis names of the kernel.
        bias: Whether to add a bias.
        dtype: Dtype to compute in.
    """

    def __init__(
        self,
        rngs: nnx.Rngs,
        shape: tuple[int, ...],
        names: tuple[str, ...],
        *,
        bias: bool = True,
        dtype: Any,
    ) -> None:
        std = math.sqrt(2 / math.prod(shape[:-1]))
        kernel = std * jax.random.normal(rngs.params(), shape, jnp.float32)
        kernel -= jnp.mean(kernel, axis=tuple(range(len(shape) - 1)), keepdims=True)
        self.kernel = nnx.Param(kernel, out_sharding=names, eager_sharding=False)
        self.bias = zeros(shape[-1:], names[-1:]) if bias else None
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the linear map to the last axis."""
        return self._add_bias(x @ self.kernel[...].astype(self.dtype))

    def convolve(self, x: jax.Array, stride: int, padding: str | int) -> jax.Array:
        """Convolves x [batch, height, width, channels] with padding in pixels or by name."""
        ends = padding if isinstance(padding, str) else [(padding, padding)] * 2
        return self._add_bias(
            jax.lax.conv_general_dilated(
                x,
                self.kernel[...].astype(self.dtype),
                (stride, stride),
                ends,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )

    def _add_bias(self, x: jax.Array) -> jax.Array:
        return x if self.bias is None else x + self.bias[...].astype(self.dtype)


class Stack(nnx.Module):
    """Blocks of one shape in sequence; their parameters have a leading axis ``layers``.

    Args:
        count: Number of blocks.
        make: Makes one block.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(
        self,
        count: int,
        make: Callable[[nnx.Rngs], Any],
        rngs: nnx.Rngs,
        compute: sx.Compute,
    ) -> None:
        self.blocks = sx.stacked_layers(count, rngs, make)
        self.compute = compute

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies every block."""
        graph, stacked = nnx.split(self.blocks)
        free = (None,) * (x.ndim - 1)

        def block(x: jax.Array, params: Any) -> jax.Array:
            return sx.constrain(nnx.merge(graph, params)(x), "batch", *free)

        return self.compute.layers(block, sx.constrain(x, "batch", *free), stacked)


def zeros(shape: tuple[int, ...], names: tuple[str, ...]) -> nnx.Param[jax.Array]:
    """Returns a parameter that starts at zero."""
    return nnx.Param(jnp.zeros(shape, jnp.float32), out_sharding=names, eager_sharding=False)


def named(init: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the initialiser of a norm's scale or bias with its logical axis name."""
    return nnx.with_partitioning(init, ("norm",), eager_sharding=False)
