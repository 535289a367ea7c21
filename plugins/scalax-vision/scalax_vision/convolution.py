"""What a convolution costs, and how it is divided over a mesh. Imports no jax."""

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
"""Logical axes of convolutions and what follows them, and the mesh axes they are divided over."""


def padded(pixels: int, stride: int) -> int:
    """Length of a side after an odd kernel with half of it padded on each end.

    Example:
        >>> padded(28, 1), padded(28, 2), padded(7, 2)
        (28, 14, 4)
    """
    return (pixels - 1) // stride + 1


def places(
    sides: tuple[int, int], outs: tuple[int, int], kernel: int, *, before: int, stride: int = 1
) -> int:
    """Pairs of a place of the result and of the kernel that meet a pixel, not padding.

    Args:
        sides: Height and width that the convolution reads.
        outs: Height and width that it gives.
        kernel: Side of the kernel.
        before: Padding before the first pixel.
        stride: Steps from one place to the next.

    Example:
        >>> places((4, 4), (4, 4), 3, before=1)
        100
    """
    return math.prod(
        sum(0 <= at * stride + k - before < side for at in range(out) for k in range(kernel))
        for side, out in zip(sides, outs, strict=True)
    )
