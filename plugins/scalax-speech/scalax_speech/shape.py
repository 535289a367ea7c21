"""What a Conformer is and costs: layers, exact counts, FLOPs, the shape of a size.

Arithmetic on plain numbers; it never imports jax.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import scalax as sx

STRIDE, SPAN = 2, 3
"""Of both convolutions that shorten the sound: frames from one to the next, frames in each."""

_ASPECT = 16  # width a layer; the paper's three models have 9, 16 and 30 (its table 1)
_STEP = 8  # of widths: heads stay even and divide among devices


@dataclass(frozen=True)
class ConformerShape:
    """Two strided convolutions over time, Conformer blocks, the mean over time, a linear layer.

    Attributes:
        frames: Of an example.
        mels: Features of a frame.
        width: Of the residual stream.
        layers: Blocks.
        hidden: Width of the feed-forward layers.
        heads: Of the attention.
        kernel: Places that the depthwise convolution spans, an odd number.
        classes: Labels.
    """

    frames: int
    mels: int
    width: int
    layers: int
    hidden: int
    heads: int
    kernel: int
    classes: int

    @property
    def halved(self) -> int:
        """Places that the first strided convolution leaves."""
        return (self.frames - SPAN) // STRIDE + 1

    @property
    def places(self) -> int:
        """Places that both leave: what the blocks see."""
        return (self.halved - SPAN) // STRIDE + 1


def counts(shape: ConformerShape) -> sx.Counts:
    """Exact parameter counts; no embedding, no biases, and all are active.

    Example:
        >>> counts(ConformerShape(98, 40, 16, 1, 64, 4, 9, 10)).params
        8976
    """
    s, d = shape, shape.width
    strided = SPAN * s.mels * d + SPAN * d * d
    feed_forward = d + 2 * d * s.hidden
    attention = d + 4 * d * d
    convolution = d + 2 * d * d + s.kernel * d + d + d * d
    block = 2 * feed_forward + attention + convolution + d
    params = strided + s.layers * block + d * s.classes
    return sx.Counts(params=params, params_embedding=0, params_active=params)


def flops_per_example(shape: ConformerShape) -> float:
    """Training FLOPs of one example: each multiply-add of a matrix product is two.

    The backward pass repeats the forward products twice, but for the gradient by the features,
    which is never computed. The depthwise convolution is no matrix product and is not counted: it
    is ``kernel`` multiply-adds a value beside some 20 times the width of them in the block.

    Example:
        >>> flops_per_example(ConformerShape(98, 40, 16, 1, 64, 4, 9, 10))
        1389696.0
    """
    s, d = shape, shape.width
    first = s.halved * SPAN * s.mels * d
    second = s.places * SPAN * d * d
    feed_forward = 2 * d * s.hidden
    attention = 4 * d * d + 2 * s.places * d
    block = s.places * (2 * feed_forward + attention + 3 * d * d)
    return 2.0 * (2 * first + 3 * (second + s.layers * block + d * s.classes))


def shape_for(
    params: float,
    *,
    frames: int,
    mels: int,
    classes: int,
    layers: int | None = None,
    kernel: int = 9,
) -> ConformerShape:
    """The Conformer nearest to a size.

    Widths are multiples of 8. Of the shapes within 2 % of the size (of all, where there is none) it
    is the one that is nearest, in the sum of both logarithms, to a width of 16 a layer and to a
    feed-forward layer of four widths.

    Args:
        params: Target for all parameters.
        frames: Of an example.
        mels: Features of a frame.
        classes: Labels.
        layers: Blocks, where they are given.
        kernel: Places that the depthwise convolution spans.

    Raises:
        ScalaxError: The examples are too short, or no shape comes within 10 % of the target.

    Example:
        >>> shape = shape_for(1e5, frames=98, mels=40, classes=35)
        >>> shape.width, shape.layers, shape.hidden, counts(shape).params
        (40, 2, 208, 101160)
    """
    least = SPAN + STRIDE * (SPAN - 1)
    if frames < least:
        raise sx.ScalaxError(
            f"examples of {frames} frames are too short: two strided convolutions need {least}",
            where="model.family 'conformer'",
            fix="choose a dataset with longer examples",
        )
    oddness: dict[ConformerShape, float] = {}

    def candidates() -> Iterator[ConformerShape]:
        for shape, odd in _near(params, frames, mels, classes, layers, kernel):
            oddness[shape] = odd
            yield shape

    return sx.nearest_shape(
        params,
        candidates(),
        lambda shape: counts(shape).params,
        cost=lambda shape, distance: (max(distance, 0.02), oddness[shape], distance),
        what="conformer",
    )


def _near(
    params: float, frames: int, mels: int, classes: int, layers: int | None, kernel: int
) -> Iterator[tuple[ConformerShape, float]]:
    """Of each width and depth the shape nearest to a size, and how odd its proportions are."""
    for width in itertools.count(2 * _STEP, _STEP):
        depths = [layers] if layers else range(max(1, width // 64), width // 4 + 1)
        for depth in depths:
            heads = 4 if width <= 256 else 8
            bare = ConformerShape(frames, mels, width, depth, 0, heads, kernel, classes)
            a_step = 4 * depth * width * _STEP
            steps = (params - counts(bare).params) / a_step
            hidden = _STEP * round(min(6 * width / _STEP, max(2 * width / _STEP, steps)))
            shape = dataclasses.replace(bare, hidden=hidden)
            oddness = abs(math.log(width / depth / _ASPECT)) + abs(math.log(hidden / width / 4))
            yield shape, oddness
            if counts(shape).params > 1.1 * params:
                if depth == depths[0] and width > 2 * _STEP:
                    return
                break  # deeper ones are larger still
