"""Shapes, exact parameter counts and FLOPs of both text families, and their size search.

The file does arithmetic on plain numbers and never imports jax. A shape is scalax's transformer of
the same width, heads and layers, plus the parts that the family adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from pydantic import Field

import scalax as sx

_ROW_STEP = 8  # embedding rows and MLP widths are multiples of this, so that a mesh divides them
_NEAR = math.log(1.05)  # a size within 5 % of the target keeps the usual MLP width
_CANDIDATES = 64  # transformers to try for one target, evenly spaced in their logarithm
_LEAST_SHARE = 0.2  # smallest share of the target's parameters that the transformer has


Shape = TypeVar("Shape", "EncoderShape", "PairShape")


class ShapeOptions(sx.Settings):
    """Keys of ``[model]`` for both families: the sizes to fix."""

    width: int | None = Field(None, ge=1)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=1)

    @property
    def fixed(self) -> sx.FixedShape:
        """The options as `sx.transformer_shape` takes them."""
        return sx.FixedShape(self.width, self.layers, self.heads, self.head_dim, self.hidden)


@dataclass(frozen=True)
class EncoderShape:
    """An encoder with a classifier on the mean of its positions.

    Attributes:
        dense: The transformer; its ``seq_len`` is the length of a text.
        classes: Number of labels.
    """

    dense: sx.TransformerShape
    classes: int

    @property
    def counts(self) -> sx.Counts:
        """Exact counts of embedding, positions, blocks, norms and head; there are no biases.

        Example:
            >>> encoder_shape(1e5, vocab=258, seq_len=48, classes=90).counts.params
            99848
        """
        s = self.dense
        inner = sx.transformer_counts(s)  # its head is the embedding
        positions, head = s.seq_len * s.width, s.width * self.classes
        params = inner.params + positions + head
        return sx.Counts(params, inner.params_embedding + positions, params)

    @property
    def flops(self) -> float:
        """Training FLOPs of one example: all products, and twice that backward."""
        s = self.dense
        return 3 * (_encoder_flops(s, s.seq_len) + 2 * s.width * self.classes)


@dataclass(frozen=True)
class PairShape:
    """An encoder and a decoder with equally many layers, and one embedding tied to the head.

    Attributes:
        dense: The decoder without cross-attention; its ``seq_len`` is the length of a target.
        source_len: Length of a source.
    """

    dense: sx.TransformerShape
    source_len: int

    @property
    def counts(self) -> sx.Counts:
        """Exact counts of embedding, source positions, all blocks and norms; no biases.

        Example:
            >>> pair_shape(1e5, vocab=356, source_len=48, target_len=48).counts.params
            101280
        """
        s = self.dense
        decoder = sx.transformer_counts(s)
        block = (decoder.params - decoder.params_embedding - s.width) // s.layers
        cross = 4 * s.width * s.heads * s.head_dim + s.width  # attention and its norm
        positions = self.source_len * s.width
        encoder = positions + s.layers * block + s.width
        params = decoder.params + s.layers * cross + encoder
        return sx.Counts(params, decoder.params_embedding + positions, params)

    def flops(self, *, computed: bool = False) -> float:
        """Returns training FLOPs of one pair: all products, and twice that backward.

        Args:
            computed: Whether to include the scores that the decoder's causal mask hides.
        """
        s = self.dense
        per_position = 2 * 2 * s.width * s.heads * s.head_dim  # query and out, or key and value
        scores = 2 * 2 * s.heads * s.head_dim * self.source_len * s.seq_len
        cross = s.layers * (per_position * (s.seq_len + self.source_len) + scores)
        decoder = s.seq_len * sx.forward_flops(s, "full" if computed else "causal")
        return 3 * (decoder + cross + _encoder_flops(s, self.source_len))


def _encoder_flops(s: sx.TransformerShape, length: int) -> float:
    """Returns forward FLOPs of the blocks over a text with full attention, without a head."""
    s = replace(s, seq_len=length)
    return length * (sx.forward_flops(s, "full") - 2 * s.width * s.vocab)


def recipe(params: float, examples: float, rate: float) -> sx.Recipe:
    """Returns the recipe of both families: AdamW without decay.

    Args:
        params: Parameters of the model.
        examples: Examples to train on.
        rate: Learning rate times the square root of the parameters. The learning rate is at most
            0.01.

    Example:
        >>> recipe(1e4, 64_000, 0.57).batch
        32
    """
    batch = 2 ** max(4, round(math.log2(math.sqrt(examples) / 8)))
    peak = min(0.01, rate / math.sqrt(params))
    return sx.Recipe(batch=batch, learning_rate=peak, weight_decay=0.0, beta2=0.99)


def encoder_shape(
    params: float | None,
    *,
    vocab: int,
    seq_len: int,
    classes: int,
    fixed: sx.FixedShape | None = None,
) -> EncoderShape:
    """Returns the encoder of a target size.

    Args:
        params: Target for all parameters; None for the shape that ``fixed`` determines.
        vocab: Size of the vocabulary.
        seq_len: Numbers in a text.
        classes: Number of labels.
        fixed: Sizes that are given and not searched.

    Raises:
        ScalaxError: No encoder comes within 10 %.
    """

    def member(dense: sx.TransformerShape) -> EncoderShape:
        return EncoderShape(dense, classes)

    return _nearest("encoder", params, vocab, seq_len, fixed, member)


def pair_shape(
    params: float | None,
    *,
    vocab: int,
    source_len: int,
    target_len: int,
    fixed: sx.FixedShape | None = None,
) -> PairShape:
    """Returns the encoder-decoder of a target size.

    Args:
        params: Target for all parameters; None for the shape that ``fixed`` determines.
        vocab: Size of the vocabulary.
        source_len: Numbers in a source.
        target_len: Numbers in a target.
        fixed: Sizes that are given and not searched; encoder and decoder each have ``layers``.

    Raises:
        ScalaxError: No encoder-decoder comes within 10 %.
    """

    def member(dense: sx.TransformerShape) -> PairShape:
        return PairShape(dense, source_len)

    return _nearest("encoder-decoder", params, vocab, target_len, fixed, member)


def _nearest(
    family: str,
    params: float | None,
    vocab: int,
    seq_len: int,
    fixed: sx.FixedShape | None,
    member: Callable[[sx.TransformerShape], Shape],
) -> Shape:
    """Tries transformers of many sizes and returns the model nearest to the target."""
    rows = math.ceil(vocab / _ROW_STEP) * _ROW_STEP

    def whole(size: float | None) -> Shape:
        return member(
            sx.transformer_shape(
                size, vocab=rows, seq_len=seq_len, gated=False, tied=True, fixed=fixed
            )
        )

    if params is None:
        return whole(None)
    shapes: list[Shape] = []
    last_error: sx.ScalaxError | None = None
    for size in np.geomspace(_LEAST_SHARE * params, params, _CANDIDATES):
        try:
            shapes.append(whole(float(size)))
        except sx.ScalaxError as error:  # this size has no shape; try the others
            last_error = error
    if not shapes and last_error is not None and last_error.where != "model":
        raise last_error  # an option is wrong at every size

    def distance(shape: Shape) -> float:
        return abs(math.log(shape.counts.params / params))

    usual_is_near = any(distance(shape) <= _NEAR for shape in shapes)
    if not usual_is_near and not (fixed and fixed.hidden):
        shapes = [_with_hidden_for(shape, params) for shape in shapes]
    given = f" with {fixed}" if fixed and str(fixed) else ""
    return sx.nearest_shape(
        params,
        shapes,
        lambda shape: shape.counts.params,
        what=f"{family}{given}",
        none="the embedding is larger",
        fix="ask for another size" + (f", or leave out one of {fixed}" if given else ""),
    )


def _with_hidden_for(shape: Shape, params: float) -> Shape:
    """Returns the shape with MLPs up to a third wider or narrower, nearer to the target."""
    dense, count = shape.dense, shape.counts.params
    wider = replace(shape, dense=replace(dense, hidden=dense.hidden + 1))
    ideal = dense.hidden + (params - count) / (wider.counts.params - count)
    hidden = round(min(max(ideal, 0.75 * dense.hidden), 4 / 3 * dense.hidden) / _ROW_STEP)
    return replace(shape, dense=replace(dense, hidden=max(1, hidden) * _ROW_STEP))
