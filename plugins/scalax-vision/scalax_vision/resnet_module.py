"""The residual net in Flax NNX; `scalax_vision.resnet_shape` counts it. Imports jax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_vision.layers import Layer, Stack, named
from scalax_vision.resnet_shape import (
    Convolution,
    ResNetShape,
    Stage,
    block_convolutions,
    convolutions,
    groups,
)


class Normed(nnx.Module):
    """A convolution without bias, followed by a group norm.

    Args:
        conv: Shape of the convolution.
        rngs: Random stream for the kernel.
        scale: Initial scale of the norm.
        inputs: Logical axis name of the input channels.
        dtype: Dtype to compute in.
    """

    def __init__(
        self,
        conv: Convolution,
        rngs: nnx.Rngs,
        *,
        scale: float = 1.0,
        inputs: str = "inputs",
        dtype: Any,
    ) -> None:
        names = ("kernel", "kernel", inputs, "outputs")
        square = (conv.kernel, conv.kernel)
        self.conv = Layer(
            rngs, (*square, conv.inputs, conv.outputs), names, bias=False, dtype=dtype
        )
        self.norm = nnx.GroupNorm(
            conv.outputs,
            groups(conv.outputs),
            dtype=dtype,
            scale_init=named(nnx.initializers.constant(scale)),
            bias_init=named(nnx.initializers.zeros),
            rngs=rngs,
        )
        self.stride, self.padding = conv.stride, conv.kernel // 2

    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves and normalises x [batch, height, width, channels]."""
        return self.norm(self.conv.convolve(x, self.stride, self.padding))


class Block(nnx.Module):
    """A residual block: convolutions with ReLU between them and after the sum.

    The scale of the last norm starts at zero, so the block starts as its shortcut (Goyal et al.
    2017, arXiv:1706.02677, section 5.1).
    """

    def __init__(
        self,
        inside: list[Convolution],
        shortcut: Convolution | None,
        rngs: nnx.Rngs,
        *,
        dtype: Any,
    ) -> None:
        *first, last = inside
        self.first = nnx.List([Normed(conv, rngs, dtype=dtype) for conv in first])
        self.last = Normed(last, rngs, scale=0.0, dtype=dtype)
        self.shortcut = None if shortcut is None else Normed(shortcut, rngs, dtype=dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the residual stream after the block."""
        y = x
        for layer in self.first:
            y = jax.nn.relu(layer(y))
        residual = x if self.shortcut is None else self.shortcut(x)
        return jax.nn.relu(residual + self.last(y))


class ResNet(nnx.Module):
    """A classifier of images.

    ``compute`` recomputes the blocks after the first of each stage. The first changes the shape of
    the stream and is not recomputed.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(self, shape: ResNetShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        dtype = compute.dtype
        stem, _ = next(convolutions(shape))
        self.stem = Normed(stem, rngs, inputs="image", dtype=dtype)
        blocks: list[Block | Stack] = []
        inputs = shape.stem
        for k, stage in enumerate(shape.stages):
            stride = 1 if k == 0 else 2
            blocks.append(_block_maker(shape, stage, inputs, stride, dtype)(rngs))
            inputs = stage.width
            if stage.blocks > 1:
                make = _block_maker(shape, stage, inputs, 1, dtype)
                blocks.append(Stack(stage.blocks - 1, make, rngs, compute))
        self.blocks = nnx.List(blocks)
        names = ("inputs", "classes")
        self.head = Layer(rngs, (inputs, shape.classes), names, dtype=dtype)
        self.large, self.dtype = shape.large, dtype

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns logits [batch, classes] of images [batch, height, width, channels]."""
        x = jax.nn.relu(self.stem(images.astype(self.dtype)))
        if self.large:
            x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.mean(x.astype(jnp.float32), axis=(1, 2)).astype(self.dtype))


def _block_maker(
    shape: ResNetShape, stage: Stage, inputs: int, stride: int, dtype: Any
) -> Callable[[nnx.Rngs], Block]:
    inside, shortcut = block_convolutions(
        inputs, stage, bottleneck=shape.bottleneck, stride=stride, sides=shape.image[:2]
    )

    def make(rngs: nnx.Rngs) -> Block:
        return Block(inside, shortcut, rngs, dtype=dtype)

    return make
