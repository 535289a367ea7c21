"""What a residual net is and costs: its convolutions, exact counts, FLOPs, the shape of a size.

Arithmetic on plain numbers; it never imports jax.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.convolution import padded, places

_LARGE_FROM = 64  # pixels a side that the stem of ImageNet's nets is for
_EXPANSION = 4  # widths of a bottleneck in the width around it
_WIDTH_PER_BLOCK = 16  # ResNet-34's 64 channels over its 4 blocks a stage
_GROUP = 16  # channels that a norm's group has, or more
_LEAST, _MOST_BLOCKS = 2, 64
_SWELL = 4 / 3


@dataclass(frozen=True)
class Stage:
    """Blocks at one resolution.

    Attributes:
        width: Channels of the residual stream.
        inner: Channels between a block's convolutions.
        blocks: How many; the first halves the resolution, but in the first stage.
    """

    width: int
    inner: int
    blocks: int


@dataclass(frozen=True)
class ResNetShape:
    """A residual net (He et al. 2015, arXiv:1512.03385): stem, stages, mean over pixels, head.

    Attributes:
        image: Height, width and channels of an image.
        stem: Channels of the first convolution: 7x7 at stride 2 and a 3x3 max-pool at stride 2 for
            images of 64 pixels or more, 3x3 at stride 1 for smaller ones.
        stages: Four for large images, three for smaller ones.
        bottleneck: Whether a block is 1x1, 3x3, 1x1 or, as a basic one, 3x3, 3x3.
        classes: Labels.
    """

    image: Image
    stem: int
    stages: tuple[Stage, ...]
    bottleneck: bool
    classes: int

    @property
    def large(self) -> bool:
        """Whether it has the stem of large images."""
        return is_large(self.image)


@dataclass(frozen=True)
class Convolution:
    """One convolution without bias, and the norm that follows it.

    Attributes:
        kernel: Side, odd.
        stride: Pixels from one place to the next.
        inputs: Channels.
        outputs: Channels.
        sides: Height and width that it reads.
    """

    kernel: int
    stride: int
    inputs: int
    outputs: int
    sides: tuple[int, int]

    @property
    def params(self) -> int:
        """Kernel, and the norm's scale and bias."""
        return (self.kernel**2 * self.inputs + 2) * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds of an image that meet a pixel, not padding."""
        height, width = self.sides
        outs = padded(height, self.stride), padded(width, self.stride)
        met = places(self.sides, outs, self.kernel, before=self.kernel // 2, stride=self.stride)
        return met * self.inputs * self.outputs


def is_large(image: Image) -> bool:
    """Whether images get the stem of large ones."""
    return min(image[:2]) >= _LARGE_FROM


def groups(channels: int) -> int:
    """Groups of a norm: as many as divide the channels into equal ones of 16 or more.

    Example:
        >>> groups(8), groups(64), groups(40)
        (1, 4, 2)
    """
    return next(n for n in range(max(1, channels // _GROUP), 0, -1) if channels % n == 0)


def block_convolutions(
    inputs: int, stage: Stage, *, bottleneck: bool, stride: int, sides: tuple[int, int]
) -> tuple[list[Convolution], Convolution | None]:
    """The convolutions of a block, and that of its shortcut where the stream changes shape.

    The stride is the 3x3 convolution's, the first of a basic block.
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
    """Every convolution, the stem's first, and how many times it occurs."""
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
    """Exact parameter counts; no embedding, and all are active.

    Example:
        >>> image, blocks = (224, 224, 3), (2, 2, 2, 2)
        >>> counts(shape_for(None, image=image, classes=1000, width=64, blocks=blocks)).params
        11689512
    """
    inside = sum(times * each.params for each, times in convolutions(shape))
    params = inside + (shape.stages[-1].width + 1) * shape.classes
    return sx.Counts(params=params, params_embedding=0, params_active=params)


def flops_per_example(shape: ResNetShape) -> float:
    """Training FLOPs of one example: each multiply-add of a convolution or the head is two.

    Backward repeats the forward products twice, but for the stem, whose input is the image. Norms,
    ReLU, pooling, sums, loss, optimiser and products with padding are not counted.
    """
    (stem, _), *rest = convolutions(shape)
    inside = sum(times * each.products for each, times in rest)
    return 2.0 * (2 * stem.products + 3 * (inside + shape.stages[-1].width * shape.classes))


def shape_for(
    params: float | None,
    *,
    image: Image,
    classes: int,
    width: int | None = None,
    blocks: int | Sequence[int] | None = None,
    bottleneck: bool = False,
) -> ResNetShape:
    """The net nearest to a size, with about 16 channels of the first stage to each of its blocks.

    Each stage has twice the channels of the one before. The channels inside blocks are made up to a
    third more or fewer, in even numbers, to meet the size.

    Args:
        params: Target for all parameters; None for what ``width`` and ``blocks`` come to.
        image: Height, width and channels of an image.
        classes: Labels.
        width: Channels of stem and first stage, before a bottleneck's expansion.
        blocks: Blocks of each stage, or of all.
        bottleneck: Whether blocks are bottlenecks, with four times the width around them.

    Raises:
        ScalaxError: ``blocks`` names another number of stages, or no net comes within 10 %.

    Example:
        >>> shape = shape_for(2e5, image=(32, 32, 3), classes=10)
        >>> shape.stem, [stage.blocks for stage in shape.stages], counts(shape).params
        (25, [1, 1, 1], 198903)
    """
    family = _Family(image, classes, bottleneck)
    given = None if blocks is None else family.depths(blocks)
    if params is None:
        assert width is not None
        assert given is not None
        return family.member(width, given)
    swell: dict[ResNetShape, float] = {}

    def candidates() -> Iterator[ResNetShape]:
        for depth in range(1, _MOST_BLOCKS + 1):
            depths = given or family.depths(depth)
            for base in [width] if width else reversed(family.widths(params, depths)):
                shape, swollen = family.nearest(params, base, depths)
                swell[shape] = swollen
                yield shape
            if given:
                return

    def stretch(shape: ResNetShape) -> float:
        blocks = [stage.blocks for stage in shape.stages]
        return math.log(shape.stem / _WIDTH_PER_BLOCK * len(blocks) / sum(blocks))

    return sx.nearest_shape(
        params,
        candidates(),
        lambda shape: counts(shape).params,
        cost=lambda shape, distance: (
            abs(stretch(shape)) + abs(math.log(swell[shape])) + 10 * distance
        ),
        bound=lambda shape: -stretch(shape),  # deeper nets are thinner still
        what=f"ResNet for images of {image}",
        fix="ask for that" + (", or leave out width or blocks" if width or given else ""),
    )


@dataclass(frozen=True)
class _Family:
    """Nets for one kind of image."""

    image: Image
    classes: int
    bottleneck: bool

    def depths(self, blocks: int | Sequence[int]) -> tuple[int, ...]:
        """Blocks of each stage."""
        stages = 4 if is_large(self.image) else 3
        found = (blocks,) * stages if isinstance(blocks, int) else tuple(blocks)
        if len(found) != stages:
            raise sx.ScalaxError(
                f"expected a number for each of {stages} stages, got {list(found)}",
                where="model.blocks",
                fix=f"write {[found[0]] * stages}, or {found[0]} for all",
            )
        return found

    def member(self, base: int, depths: tuple[int, ...], swell: float = 1.0) -> ResNetShape:
        """The net of a base width, its blocks so many times as wide inside."""
        expansion = _EXPANSION if self.bottleneck else 1
        stages = []
        for k, blocks in enumerate(depths):
            inner = base * 2**k
            if swell != 1:
                inner = max(2, 2 * round(inner * swell / 2))
            stages.append(Stage(expansion * base * 2**k, inner, blocks))
        return ResNetShape(self.image, base, tuple(stages), self.bottleneck, self.classes)

    def widths(self, params: float, depths: tuple[int, ...]) -> list[int]:
        """Base widths of nets about as large as asked for."""
        low, high = _LEAST, _LEAST + 1
        while counts(self.member(high, depths)).params < params:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            small = counts(self.member(middle, depths)).params < params
            low, high = (middle, high) if small else (low, middle)
        return [low, high]

    def nearest(
        self, params: float, base: int, depths: tuple[int, ...]
    ) -> tuple[ResNetShape, float]:
        """The net of this width and depth nearest to a size, and how its blocks were swollen."""
        last = base * 2 ** (len(depths) - 1)

        def miss(inner: int) -> float:
            return counts(self.member(base, depths, inner / last)).params - params

        low, high = math.ceil(last / _SWELL / 2), math.floor(last * _SWELL / 2)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if miss(2 * middle) < 0 else (low, middle)
        usual = abs(counts(self.member(base, depths)).params - params)
        inner = min((2 * low, 2 * high, last), key=lambda inner: abs(miss(inner)))
        if usual <= abs(miss(inner)):
            inner = last
        return self.member(base, depths, inner / last), inner / last
