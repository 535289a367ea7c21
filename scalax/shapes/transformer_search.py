"""Finds the transformer of a target size, with proportions from a recipe; no jax."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from scalax.errors import ScalaxError
from scalax.shapes.nearest import nearest_shape
from scalax.shapes.transformer import TransformerShape, counts
from scalax.shapes.transformer_recipe import USUAL, TransformerRecipe

_MAX_WIDTH = 32768
_HEAD_DIMS = (*range(8, 64, 8), *range(64, 257, 16))


@dataclass(frozen=True)
class Fixed:
    """Dimensions of a shape that a user fixes; None leaves one to the search.

    The width equals heads x head_dim.

    Attributes:
        width: Width of the residual stream.
        layers: Number of blocks.
        heads: Query heads.
        head_dim: Width of a head.
        hidden: Width of the MLP.
    """

    width: int | None = None
    layers: int | None = None
    heads: int | None = None
    head_dim: int | None = None
    hidden: int | None = None

    def __str__(self) -> str:
        given = {k: v for k, v in vars(self).items() if v is not None}
        return ", ".join(f"{name} {value}" for name, value in given.items())


def shape_for(
    params: float | None,
    *,
    vocab: int,
    seq_len: int,
    gated: bool = True,
    tied: bool = False,
    kv_groups: int = 1,
    fixed: Fixed | None = None,
    recipe: TransformerRecipe = USUAL,
) -> TransformerShape:
    """Finds the transformer of a target size, within 10 % of all its parameters.

    The recipe sets the ratio of width to depth. The MLP's width is adjusted by up to a third to
    meet the size.

    Args:
        params: Target for all parameters; None for the shape that ``fixed`` determines, which
            must then have a width and layers.
        vocab: Size of the vocabulary.
        seq_len: Tokens in a sequence.
        gated: Whether the MLP is gated.
        tied: Whether the head shares the embedding.
        kv_groups: Query heads per key-value head.
        fixed: Dimensions that are not searched.
        recipe: The usual proportions.

    Raises:
        ScalaxError: No shape of this vocabulary is within 10 %, or the fixed dimensions
            contradict each other.

    Example:
        >>> counts(shape_for(1e8, vocab=32000, seq_len=1024)).params
        100039104
        >>> shape_for(1e8, vocab=32000, seq_len=1024, fixed=Fixed(layers=24)).width
        480
    """
    fixed = fixed or Fixed()
    if params is None:
        return next(_candidates(None, vocab, seq_len, gated, tied, kv_groups, fixed, recipe))
    given = f" with {fixed}" if str(fixed) else ""

    def cost(shape: TransformerShape, distance: float) -> float:
        ratio = abs(math.log(shape.width / shape.layers / recipe.width_per_layer(shape.width)))
        return (
            ratio + abs(math.log(shape.hidden / recipe.hidden(shape.width, gated))) + 10 * distance
        )

    return nearest_shape(
        params,
        _candidates(params, vocab, seq_len, gated, tied, kv_groups, fixed, recipe),
        lambda shape: counts(shape).params,
        cost=cost,
        what=f"transformer of vocabulary {vocab}{given}",
        none="the vocabulary alone is larger",
        fix="ask for another size"
        + ("" if tied else ", or tied = true")
        + (f", or leave out one of {fixed}" if given else ""),
    )


def _candidates(
    params: float | None,
    vocab: int,
    seq_len: int,
    gated: bool,
    tied: bool,
    kv_groups: int,
    fixed: Fixed,
    recipe: TransformerRecipe,
) -> Iterator[TransformerShape]:
    """Yields shapes of all widths and depths, with MLPs adjusted to the target."""
    for head_dim, heads in _widths(kv_groups, fixed, recipe):
        width = head_dim * heads
        if params is not None and vocab * width * (1 if tied else 2) > 1.1 * params:
            return
        for layers in _layers(params, width, gated, fixed, recipe):
            shape = TransformerShape(
                vocab=vocab,
                width=width,
                layers=layers,
                heads=heads,
                kv_heads=heads // kv_groups,
                head_dim=head_dim,
                hidden=fixed.hidden or recipe.hidden(width, gated),
                gated=gated,
                tied=tied,
                seq_len=seq_len,
            )
            if params is not None and fixed.hidden is None:
                shape = _with_hidden_for(shape, params, recipe)
            yield shape


def _with_hidden_for(
    shape: TransformerShape, params: float, recipe: TransformerRecipe
) -> TransformerShape:
    """Adjusts the MLP's width, by up to a third, to bring the count nearer to the target."""
    matrices = (3 if shape.gated else 2) * shape.layers * shape.width
    usual = recipe.hidden(shape.width, shape.gated)
    step = recipe.hidden_step(shape.width)
    ideal = shape.hidden + (params - counts(shape).params) / matrices
    hidden = round(min(max(ideal, 0.75 * usual), 4 / 3 * usual) / step) * step
    return replace(shape, hidden=max(step, hidden))


def _widths(kv_groups: int, fixed: Fixed, recipe: TransformerRecipe) -> list[tuple[int, int]]:
    """Returns pairs (head width, number of heads), by growing width of the model."""
    if fixed.heads is not None and fixed.heads % kv_groups:
        raise ScalaxError(
            f"{fixed.heads} heads are not divisible into groups of {kv_groups}",
            where="model.kv_groups",
            fix="choose a divisor of heads",
        )
    if fixed.width is not None:
        return [_heads_of(fixed.width, kv_groups, fixed, recipe)]
    if fixed.heads is not None:
        dims = [fixed.head_dim] if fixed.head_dim is not None else _HEAD_DIMS
        return [(dim, fixed.heads) for dim in dims]
    if fixed.head_dim is not None:
        return [
            (fixed.head_dim, heads)
            for heads in range(kv_groups, _MAX_WIDTH // fixed.head_dim, kv_groups)
        ]
    pairs = []
    for (minimum, head_dim), (limit, _) in itertools.pairwise((*recipe.head_dims, (_MAX_WIDTH, 0))):
        pairs += [(head_dim, width // head_dim) for width in range(minimum, limit, head_dim)]
    return [(dim, heads) for dim, heads in pairs if heads % kv_groups == 0]


def _heads_of(
    width: int, kv_groups: int, fixed: Fixed, recipe: TransformerRecipe
) -> tuple[int, int]:
    """Returns head width and number of heads of a width: the divisor nearest the usual one."""
    if fixed.heads is not None:
        dims = [fixed.head_dim or width // fixed.heads]
    elif fixed.head_dim is not None:
        dims = [fixed.head_dim]
    else:
        usual = recipe.head_dim(width)
        dims = sorted(_HEAD_DIMS, key=lambda dim: abs(math.log(dim / usual)))
    for dim in dims:
        heads = fixed.heads or width // dim
        if dim * heads == width and heads and heads % kv_groups == 0:
            return dim, heads
    given = str(Fixed(heads=fixed.heads, head_dim=fixed.head_dim))
    raise ScalaxError(
        f"a width of {width} is not made up of {given or 'heads of 8 to 256'}"
        + (f" in groups of {kv_groups}" if kv_groups > 1 else "")
        + ": width = heads x head_dim",
        where="model.width",
        fix="change or remove one of these options",
    )


def _layers(
    params: float | None, width: int, gated: bool, fixed: Fixed, recipe: TransformerRecipe
) -> range:
    """Returns the depths to try at a width: about a quarter to four times the usual one."""
    if fixed.layers is not None:
        return range(fixed.layers, fixed.layers + 1)
    assert params is not None  # without a target, layers are given
    block = 4 * width * width + (3 if gated else 2) * width * (
        fixed.hidden or recipe.hidden(width, gated)
    )
    deepest = min(256, int(1.2 * params / block) + 1)
    if fixed.width is not None:  # only the depth is left to meet the size
        return range(1, deepest + 1)
    ideal = width / recipe.width_per_layer(width)
    return range(max(1, int(ideal / 4)), max(1, min(deepest, int(4 * ideal) + 1)) + 1)
