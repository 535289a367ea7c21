"""Shape, exact parameter counts and FLOPs of a convolutional net, and its size search.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.convolution import kernel_products

Padding = Literal["VALID", "SAME"]

_SMALLEST = 10  # channels of the first convolution of the smallest member
_VALID_FROM = 16  # smallest side for two 5x5 convolutions without padding and two pools, in pixels
_SAME_FROM = 4  # smallest side for two pools, in pixels


@dataclass(frozen=True)
class ConvShape:
    """Two convolutions, each with ReLU and a 2x2 max-pool, then two linear layers.

    Attributes:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        image_channels: Channels of the image.
        kernel: Side of both kernels, in pixels.
        padding: ``VALID`` (none) or ``SAME`` (zeros), at stride 1.
        first: Channels of the first convolution.
        second: Channels of the second convolution.
        hidden: Width of the hidden linear layer.
        classes: Number of labels.
    """

    height: int
    width: int
    image_channels: int
    kernel: int
    padding: Padding
    first: int
    second: int
    hidden: int
    classes: int

    @property
    def features(self) -> int:
        """Values after the second pool, which are the inputs of the first linear layer."""
        rows, columns = (self._sides(pixels)[1] // 2 for pixels in (self.height, self.width))
        return rows * columns * self.second

    def _sides(self, pixels: int) -> tuple[int, int]:
        """Returns the length of one side after each convolution, before its pool."""
        removed = self.kernel - 1 if self.padding == "VALID" else 0
        first = pixels - removed
        return first, first // 2 - removed

    def _products(self, layer: Literal[0, 1]) -> int:
        """Returns the products of a kernel value with a pixel, without those with padding."""
        height, width = self.height, self.width
        outs = self._sides(height)[layer], self._sides(width)[layer]
        sides = height, width
        if layer == 1:
            sides = self._sides(height)[0] // 2, self._sides(width)[0] // 2
        before = (self.kernel - 1) // 2 if self.padding == "SAME" else 0
        return kernel_products(sides, outs, self.kernel, before=before)


def counts(shape: ConvShape) -> sx.Counts:
    """Returns exact parameter counts, biases included; there is no embedding.

    Example:
        >>> counts(shape_for(8600, image=(28, 28, 1), classes=10)).params
        8600
    """
    s, area = shape, shape.kernel**2
    params = (
        (s.image_channels * area + 1) * s.first
        + (s.first * area + 1) * s.second
        + (s.features + 1) * s.hidden
        + (s.hidden + 1) * s.classes
    )
    return sx.Counts(params=params, params_embedding=0, params_active=params)


def flops_per_example(shape: ConvShape) -> float:
    """Returns training FLOPs of one example: two per multiply-add of a convolution or linear layer.

    The backward pass repeats a layer's products twice, for the gradients of its inputs and weights.
    The gradient of the image is never computed, so the first convolution repeats them once.
    Products with padding are not counted, as in XLA's cost analysis, nor are biases, ReLU, pooling,
    loss and optimiser.

    Example:
        >>> flops_per_example(shape_for(8600, image=(28, 28, 1), classes=10))
        2515800.0
    """
    s = shape
    first = s._products(0) * s.image_channels * s.first
    rest = s._products(1) * s.first * s.second + s.features * s.hidden + s.hidden * s.classes
    return 2.0 * (2 * first + 3 * rest)


def shape_for(params: float, *, image: Image, classes: int) -> ConvShape:
    """Returns the net nearest to a target size.

    All widths grow together from 10, 20 and 10, and all are even. The sizes of neighbours differ by
    less than 1.2 times, so every size from the smallest net on is met within 10 %. Images with
    sides of 16 pixels or more get 5x5 kernels without padding, as the classic net has on MNIST.
    Smaller images, down to 4 pixels, get 3x3 kernels with padding.

    Args:
        params: Target for all parameters.
        image: Height, width and channels of an image.
        classes: Number of labels.

    Raises:
        ScalaxError: The images are too small, or the target is more than 10 % below the smallest
            net.

    Example:
        >>> shape = shape_for(1e5, image=(28, 28, 1), classes=10)
        >>> shape.first, shape.second, shape.hidden, counts(shape).params
        (34, 70, 34, 98918)
    """
    return sx.nearest_shape(
        params,
        _candidates(params, image, classes),
        lambda shape: counts(shape).params,
        what=f"convnet for images of {image}",
    )


def _candidates(params: float, image: Image, classes: int) -> Iterator[ConvShape]:
    """Yields the nets from the smallest up to the first that exceeds a target size."""
    for first, second in _widths():
        shape = _member(first, second, image, classes)
        yield shape
        if counts(shape).params > params:
            return


def _widths() -> Iterator[tuple[int, int]]:
    """Yields the channels of both convolutions; the second has about twice those of the first."""
    for half in itertools.count(_SMALLEST):
        for first in sorted({half // 2 * 2, (half + 1) // 2 * 2}):
            yield first, 2 * half


def _member(first: int, second: int, image: Image, classes: int) -> ConvShape:
    height, width, channels = image
    least = min(height, width)
    if least < _SAME_FROM:
        raise sx.ScalaxError(
            f"images of {height} x {width} are too small for two pools",
            where="model.family 'convnet'",
            fix=f"choose a dataset with images of {_SAME_FROM} x {_SAME_FROM} pixels or more",
        )
    padding: Padding = "VALID" if least >= _VALID_FROM else "SAME"
    return ConvShape(
        height=height,
        width=width,
        image_channels=channels,
        kernel=5 if padding == "VALID" else 3,
        padding=padding,
        first=first,
        second=second,
        hidden=first,
        classes=classes,
    )
