"""Shape, exact parameter counts and FLOPs of a Conformer, and its size search.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import scalax as sx

STRIDE, SPAN = 2, 3
"""Stride and kernel, in frames, of both strided convolutions."""

_ASPECT = 16  # width per layer; the paper's three models have 9, 16 and 30 (table 1)
_NEAR = 0.02  # shapes within 2 % of the target count as equal; their proportions decide
_STEP = 8  # widths are multiples of this, so that heads have even widths and devices divide them


@dataclass(frozen=True)
class ConformerShape:
    """Two strided convolutions over time, Conformer blocks, the mean over time, a linear layer.

    Attributes:
        frames: Frames of an example.
        mels: Features of a frame.
        width: Width of the residual stream.
        layers: Number of blocks.
        hidden: Width of the feed-forward layers.
        heads: Number of attention heads.
        kernel: Time steps that the depthwise convolution spans, an odd number.
        classes: Number of keywords.
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
        """Time steps after the first strided convolution."""
        return (self.frames - SPAN) // STRIDE + 1

    @property
    def steps(self) -> int:
        """Time steps after both strided convolutions, which the blocks see."""
        return (self.halved - SPAN) // STRIDE + 1


def counts(shape: ConformerShape) -> sx.Counts:
    """Returns exact parameter counts; there are no embedding and no biases.

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
    """Returns training FLOPs of one example: two per multiply-add of a matrix product.

    The backward pass repeats the forward products twice, except the gradient of the features, which
    is never computed. The depthwise convolution is not a matrix product and is not counted: it has
    ``kernel`` multiply-adds per value, while the rest of the block has about 20 times the width.

    Example:
        >>> flops_per_example(ConformerShape(98, 40, 16, 1, 64, 4, 9, 10))
        1389696.0
    """
    s, d = shape, shape.width
    first = s.halved * SPAN * s.mels * d
    second = s.steps * SPAN * d * d
    feed_forward = 2 * d * s.hidden
    attention = 4 * d * d + 2 * s.steps * d
    block = s.steps * (2 * feed_forward + attention + 3 * d * d)
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
    """Returns the Conformer nearest to a target size.

    Widths are multiples of 8. Among the shapes within 2 % of the target (among all shapes if there
    is none) the search takes the usual proportions: a width of 16 per layer and feed-forward layers
    of four widths, by the sum of both log ratios.

    Args:
        params: Target for all parameters.
        frames: Frames of an example.
        mels: Features of a frame.
        classes: Number of keywords.
        layers: Number of blocks, if it is fixed.
        kernel: Time steps that the depthwise convolution spans.

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
            f"too few frames for two strided convolutions (expected {least} or more, got {frames})",
            where="model.family 'conformer'",
            fix="choose a dataset with longer examples",
        )
    return sx.nearest_shape(
        params,
        _candidates(params, frames, mels, classes, layers, kernel),
        lambda shape: counts(shape).params,
        cost=lambda shape, distance: (max(distance, _NEAR), _unusualness(shape), distance),
        what="conformer",
    )


def _unusualness(shape: ConformerShape) -> float:
    """Returns the sum of both log ratios to the usual proportions."""
    aspect = shape.width / shape.layers / _ASPECT
    return abs(math.log(aspect)) + abs(math.log(shape.hidden / shape.width / 4))


def _candidates(
    params: float, frames: int, mels: int, classes: int, layers: int | None, kernel: int
) -> Iterator[ConformerShape]:
    """Yields the nearest shape of each width and depth."""
    for width in itertools.count(2 * _STEP, _STEP):
        depths = [layers] if layers else range(max(1, width // 64), width // 4 + 1)
        for depth in depths:
            heads = 4 if width <= 256 else 8
            bare = ConformerShape(frames, mels, width, depth, 0, heads, kernel, classes)
            params_per_step = 4 * depth * width * _STEP
            steps = (params - counts(bare).params) / params_per_step
            hidden = _STEP * round(min(6 * width / _STEP, max(2 * width / _STEP, steps)))
            shape = dataclasses.replace(bare, hidden=hidden)
            yield shape
            if counts(shape).params > 1.1 * params:
                if depth == depths[0] and width > 2 * _STEP:
                    return
                break  # deeper ones are larger still
