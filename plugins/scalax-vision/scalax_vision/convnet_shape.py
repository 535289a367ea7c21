"""What a convolutional net is and costs: layers, exact counts, FLOPs, the shape of a size.

Arithmetic on plain numbers; it never imports jax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.convolution import places

Padding = Literal["VALID", "SAME"]

_SMALLEST = 10  # channels of the first convolution of the smallest member
_VALID_FROM = 16  # pixels that two 5x5 VALID convolutions and two pools need to leave one
_SAME_FROM = 4  # pixels that two pools need to leave one


@dataclass(frozen=True)
class ConvShape:
    """Two convolutions, each with ReLU and a 2x2 max-pool, then two linear layers.

    Attributes:
        height: Pixels of the image.
        width: Pixels of the image.
        image_channels: Channels of the image.
        kernel: Side of both convolutions' kernels, in pixels.
        padding: ``VALID`` (none) or ``SAME`` (zeros), at stride 1.
        first: Channels of the first convolution.
        second: Channels of the second convolution.
        hidden: Width of the hidden linear layer.
        classes: Labels.
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
        """Values that the second pool leaves, flattened: the first linear layer's inputs."""
        rows, columns = (self._sides(pixels)[1] // 2 for pixels in (self.height, self.width))
        return rows * columns * self.second

    def _sides(self, pixels: int) -> tuple[int, int]:
        """Length of one side after each convolution, before its pool."""
        lost = self.kernel - 1 if self.padding == "VALID" else 0
        first = pixels - lost
        return first, first // 2 - lost

    def _products(self, layer: Literal[0, 1]) -> int:
        """Pairs of an output and a kernel position that meets a pixel, not padding."""
        height, width = self.height, self.width
        outs = self._sides(height)[layer], self._sides(width)[layer]
        sides = height, width
        if layer == 1:
            sides = self._sides(height)[0] // 2, self._sides(width)[0] // 2
        before = (self.kernel - 1) // 2 if self.padding == "SAME" else 0
        return places(sides, outs, self.kernel, before=before)


def counts(shape: ConvShape) -> sx.Counts:
    """Exact parameter counts, biases included; no embedding, and all are active.

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
    """Training FLOPs of one example: each multiply-add of a convolution or linear layer is two.

    A layer's backward pass repeats its forward products twice, for the gradients of its inputs and
    of its weights; the first convolution's input is the image, whose gradient is never computed.
    Products with padding are not counted (as XLA's own cost analysis doesn't), nor are biases,
    ReLU, pooling, loss and optimiser.

    Example:
        >>> flops_per_example(shape_for(8600, image=(28, 28, 1), classes=10))
        2515800.0
    """
    s = shape
    first = s._products(0) * s.image_channels * s.first
    rest = s._products(1) * s.first * s.second + s.features * s.hidden + s.hidden * s.classes
    return 2.0 * (2 * first + 3 * rest)


def shape_for(params: float, *, image: Image, classes: int) -> ConvShape:
    """The net nearest to a size: widths grow together from 10, 20 and 10, all of them even.

    The ratio of neighbours is below 1.2, so that any size from the smallest member's on is met
    within 10 %. Images of at least 16 pixels a side get 5x5 kernels without padding, as the
    smallest member has on MNIST; smaller ones, down to 4, get 3x3 kernels with padding.

    Args:
        params: Target for all parameters.
        image: Height, width and channels of an image.
        classes: Labels.

    Raises:
        ScalaxError: The images are too small, or the target is more than 10 % below the
            smallest member.

    Example:
        >>> shape = shape_for(1e5, image=(28, 28, 1), classes=10)
        >>> shape.first, shape.second, shape.hidden, counts(shape).params
        (34, 70, 34, 98918)
    """

    def member(knob: int) -> ConvShape:
        return _member(*_widths(knob), image, classes)

    return sx.nearest_shape(
        params,
        member,
        lambda shape: counts(shape).params,
        what=f"convnet for images of {image}",
    )


def _widths(knob: int) -> tuple[int, int]:
    """Returns the channels of both convolutions, which grow with the knob.

    The second has about twice the channels of the first, which are even.

    Example:
        >>> [_widths(knob) for knob in (1, 2, 3, 4)]
        [(10, 20), (10, 22), (12, 22), (12, 24)]
    """
    pairs, step = divmod(knob - 1, 3)
    half = _SMALLEST + 2 * pairs + (step > 0)
    return _SMALLEST + 2 * pairs + (2 if step == 2 else 0), 2 * half


def _member(first: int, second: int, image: Image, classes: int) -> ConvShape:
    height, width, channels = image
    least = min(height, width)
    if least < _SAME_FROM:
        raise sx.ScalaxError(
            f"images of {height} x {width} are too small: two pools leave nothing of them",
            where="model.family 'convnet'",
            fix=f"choose a dataset with {_SAME_FROM} pixels a side or more",
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
