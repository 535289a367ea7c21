"""Cost and sharding rules of a convolution. Does not import jax."""

from __future__ import annotations

import math
from collections.abc import Mapping

RULES: Mapping[str, str | None] = {
    "kernel": None,
    "image": None,
    "inputs": "fsdp",
    "outputs": "tensor",
    "classes": None,
}
"""Mesh axes over which the logical axes of convolutional nets are sharded."""


def padded(pixels: int, stride: int) -> int:
    """Returns the length of a side after a convolution padded by half an odd kernel on each end.

    Example:
        >>> padded(28, 1), padded(28, 2), padded(7, 2)
        (28, 14, 4)
    """
    return (pixels - 1) // stride + 1


def kernel_products(
    sides: tuple[int, int], outs: tuple[int, int], kernel: int, *, before: int, stride: int = 1
) -> int:
    """Returns the products of a kernel value with a pixel, without those with padding.

    Args:
        sides: Height and width of the input.
        outs: Height and width of the output.
        kernel: Side of the kernel.
        before: Padding before the first pixel.
        stride: Pixels from one output to the next.

    Example:
        >>> kernel_products((4, 4), (4, 4), 3, before=1)
        100
    """
    return math.prod(
        sum(0 <= at * stride + k - before < side for at in range(out) for k in range(kernel))
        for side, out in zip(sides, outs, strict=True)
    )
