"""Shape, convolutions, exact parameter counts and FLOPs of a residual net.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.convolution import kernel_products, padded

_LARGE_FROM = 64  # smallest side, in pixels, for the stem of ImageNet's nets
_GROUP = 16  # fewest channels of a norm's group, in nets with as many


@dataclass(frozen=True)
class Stage:
    """Blocks at one resolution.

    Attributes:
        width: Channels of the residual stream.
        inner: Channels between a block's convolutions.
        blocks: Number of blocks; the first halves the resolution, except in the first stage.
    """

    width: int
    inner: int
    blocks: int


@dataclass(frozen=True)
class ResNetShape:
    """A residual net with stem, stages, mean over pixels and head (arXiv:1512.03385).

    Attributes:
        image: Height, width and channels of an image.
        stem: Channels of the first convolution. Images of 64 pixels or more have a 7x7 convolution
            and a 3x3 max-pool, both at stride 2. Smaller images have a 3x3 convolution at stride 1.
        stages: Four for large images, three for smaller ones.
        bottleneck: Whether a block is 1x1, 3x3, 1x1 (bottleneck) or 3x3, 3x3 (basic).
        classes: Number of labels.
    """

    image: Image
    stem: int
    stages: tuple[Stage, ...]
    bottleneck: bool
    classes: int

    @property
    def large(self) -> bool:
        """Whether the net has the stem of large images."""
        return is_large(self.image)


@dataclass(frozen=True)
class Convolution:
    """One convolution without bias, and the norm that follows it.

    Attributes:
        kernel: Side of the kernel, an odd number.
        stride: Pixels from one output to the next.
        inputs: Input channels.
        outputs: Output channels.
        sides: Height and width of the input.
    """

    kernel: int
    stride: int
    inputs: int
    outputs: int
    sides: tuple[int, int]

    @property
    def params(self) -> int:
        """Parameters of the kernel and of the norm's scale and bias."""
        return (self.kernel**2 * self.inputs + 2) * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image, without those with padding."""
        height, width = self.sides
        outs = padded(height, self.stride), padded(width, self.stride)
        products = kernel_products(
            self.sides, outs, self.kernel, before=self.kernel // 2, stride=self.stride
        )
        return products * self.inputs * self.outputs


def is_large(image: Image) -> bool:
    """Returns whether images use the stem of large images."""
    return min(image[:2]) >= _LARGE_FROM


def groups(channels: int) -> int:
    """Returns the most groups that divide the channels equally into 16 or more each.

    Example:
        >>> groups(8), groups(64), groups(40)
        (1, 4, 2)
    """
    return next(n for n in range(max(1, channels // _GROUP), 0, -1) if channels % n == 0)


def block_convolutions(
    inputs: int, stage: Stage, *, bottleneck: bool, stride: int, sides: tuple[int, int]
) -> tuple[list[Convolution], Convolution | None]:
    """Returns a block's convolutions, and its shortcut's if the stream changes shape.

    The (first) 3x3 convolution has the stride.
    """
    after = padded(sides[0], stride), padded(sides[1], stride)
    if bottleneck:
        inside = [
            Convolution(1, 1, inputs, stage.inner, sides),
            Convolution(3, stride, stage.inner, stage.inner, sides),
            Convolution(1, 1, stage.inner, stage.width, after),
        ]
    else:
        inside = [
            Convolution(3, stride, inputs, stage.inner, sides),
            Convolution(3, 1, stage.inner, stage.width, after),
        ]
    if stride == 1 and inputs == stage.width:
        return inside, None
    return inside, Convolution(1, stride, inputs, stage.width, sides)


def convolutions(shape: ResNetShape) -> Iterator[tuple[Convolution, int]]:
    """Yields every convolution, the stem first, and the number of times it occurs."""
    height, width, channels = shape.image
    stem = Convolution(
        7 if shape.large else 3, 2 if shape.large else 1, channels, shape.stem, (height, width)
    )
    yield stem, 1
    halvings = 2 if shape.large else 0
    sides, inputs = (height, width), shape.stem
    for _ in range(halvings):
        sides = padded(sides[0], 2), padded(sides[1], 2)
    for k, stage in enumerate(shape.stages):
        stride = 1 if k == 0 else 2
        first, shortcut = block_convolutions(
            inputs, stage, bottleneck=shape.bottleneck, stride=stride, sides=sides
        )
        yield from ((each, 1) for each in first)
        if shortcut is not None:
            yield shortcut, 1
        sides, inputs = (padded(sides[0], stride), padded(sides[1], stride)), stage.width
        if stage.blocks > 1:
            rest, _ = block_convolutions(
                inputs, stage, bottleneck=shape.bottleneck, stride=1, sides=sides
            )
            yield from ((each, stage.blocks - 1) for each in rest)


def counts(shape: ResNetShape) -> sx.Counts:
    """Returns exact parameter counts; there is no embedding.

    Example:
        >>> stages = tuple(Stage(64 * 2**k, 64 * 2**k, 2) for k in range(4))  # ResNet-18
        >>> counts(ResNetShape((224, 224, 3), 64, stages, bottleneck=False, classes=1000)).params
        11689512
    """
    inside = sum(times * each.params for each, times in convolutions(shape))
    params = inside + (shape.stages[-1].width + 1) * shape.classes
    return sx.Counts(params=params, params_embedding=0, params_active=params)


def flops_per_example(shape: ResNetShape) -> float:
    """Returns training FLOPs of one example: two per multiply-add of a convolution or the head.

    The backward pass repeats the forward products twice, but the stem's once, since the gradient of
    the image is never computed. Norms, ReLU, pooling, sums, loss, optimiser and products with
    padding are not counted.
    """
    (stem, _), *rest = convolutions(shape)
    inside = sum(times * each.products for each, times in rest)
    return 2.0 * (2 * stem.products + 3 * (inside + shape.stages[-1].width * shape.classes))
