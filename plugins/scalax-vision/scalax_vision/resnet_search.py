"""Finds the residual net of a target size.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.resnet_shape import ResNetShape, Stage, counts, is_large

_EXPANSION = 4  # ratio of a bottleneck's outer width to its inner width
_WIDTH_PER_BLOCK = 16  # ResNet-34 has 64 channels and 4 blocks per stage on average
_MIN_WIDTH, _MAX_BLOCKS = 2, 64
_MAX_STRETCH = 4 / 3  # largest change of the width inside blocks


def shape_for(
    params: float | None,
    *,
    image: Image,
    classes: int,
    width: int | None = None,
    blocks: int | Sequence[int] | None = None,
    bottleneck: bool = False,
) -> ResNetShape:
    """Returns the net nearest to a target size.

    A net has about 16 channels in the first stage for each block of a stage. Each stage has twice
    the channels of the stage before. The channels inside blocks change by up to a third, in even
    numbers, to meet the size.

    Args:
        params: Target for all parameters; None for the net that ``width`` and ``blocks`` determine.
        image: Height, width and channels of an image.
        classes: Number of labels.
        width: Channels of stem and first stage, before a bottleneck's expansion.
        blocks: Blocks of each stage, or one number for all stages.
        bottleneck: Whether blocks are bottlenecks, with an outer width of four inner widths.

    Raises:
        ScalaxError: ``blocks`` has the wrong number of stages, or no net comes within 10 %.

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
    depths_to_try = [given] if given else map(family.depths, range(1, _MAX_BLOCKS + 1))

    def candidates() -> Iterator[_Candidate]:
        for depths in depths_to_try:
            widths = [width] if width else family.widths(params, depths)
            aspects = [
                math.log(base / _WIDTH_PER_BLOCK * len(depths) / sum(depths)) for base in widths
            ]
            for base, aspect in zip(widths, aspects, strict=True):
                shape, stretch = family.nearest(params, base, depths)
                yield _Candidate(shape, abs(aspect) + abs(math.log(stretch)), -max(aspects))

    return sx.nearest_shape(
        params,
        candidates(),
        lambda candidate: counts(candidate.shape).params,
        cost=lambda candidate, distance: candidate.unusualness + 10 * distance,
        bound=lambda candidate: candidate.bound,
        what=f"ResNet for images of {image}",
        fix="ask for another size, or leave out width or blocks" if width or given else None,
    ).shape


@dataclass(frozen=True)
class _Candidate:
    """A net, how unusual its proportions are, and a lower bound of that for all deeper nets."""

    shape: ResNetShape
    unusualness: float
    bound: float


@dataclass(frozen=True)
class _Family:
    """Residual nets for one kind of image."""

    image: Image
    classes: int
    bottleneck: bool

    def depths(self, blocks: int | Sequence[int]) -> tuple[int, ...]:
        """Returns the number of blocks of each stage."""
        stages = 4 if is_large(self.image) else 3
        depths = (blocks,) * stages if isinstance(blocks, int) else tuple(blocks)
        if len(depths) != stages:
            raise sx.ScalaxError(
                f"wrong number of stages (expected {stages} numbers, got {list(depths)})",
                where="model.blocks",
                fix=f"write {[depths[0]] * stages}, or {depths[0]} for all",
            )
        return depths

    def member(self, base: int, depths: tuple[int, ...], stretch: float = 1.0) -> ResNetShape:
        """Returns the net of a base width, with blocks ``stretch`` times as wide inside."""
        expansion = _EXPANSION if self.bottleneck else 1
        stages = []
        for k, blocks in enumerate(depths):
            inner = base * 2**k
            if stretch != 1:
                inner = max(2, 2 * round(inner * stretch / 2))
            stages.append(Stage(expansion * base * 2**k, inner, blocks))
        return ResNetShape(self.image, base, tuple(stages), self.bottleneck, self.classes)

    def widths(self, params: float, depths: tuple[int, ...]) -> list[int]:
        """Returns the base widths just below and just above a target size."""
        low, high = _MIN_WIDTH, _MIN_WIDTH + 1
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
        """Returns the net of this width and depth nearest to a size, and its stretch."""
        last = base * 2 ** (len(depths) - 1)

        def miss(inner: int) -> float:
            return counts(self.member(base, depths, inner / last)).params - params

        low, high = math.ceil(last / _MAX_STRETCH / 2), math.floor(last * _MAX_STRETCH / 2)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if miss(2 * middle) < 0 else (low, middle)
        usual = abs(counts(self.member(base, depths)).params - params)
        inner = min((2 * low, 2 * high, last), key=lambda inner: abs(miss(inner)))
        if usual <= abs(miss(inner)):
            inner = last
        return self.member(base, depths, inner / last), inner / last
