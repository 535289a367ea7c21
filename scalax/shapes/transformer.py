"""The decoder-only transformer as numbers: its shape, counts, FLOPs, and the shape for a size.

No jax: `scalax.models.decoder` builds what is counted here, and a test holds the two together.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal

from scalax.errors import ScalaxError
from scalax.shapes.base import Counts
from scalax.shapes.transformer_recipe import USUAL, TransformerRecipe

_MOST = 32768
_HEAD_DIMS = (*range(8, 64, 8), *range(64, 257, 16))


@dataclass(frozen=True)
class TransformerShape:
    """A decoder-only transformer.

    Attributes:
        vocab: Size of the vocabulary.
        width: Width of the residual stream.
        layers: Blocks.
        heads: Query heads.
        kv_heads: Key and value heads; fewer than ``heads`` is grouped-query attention.
        head_dim: Width of a head.
        hidden: Width of the MLP.
        gated: Whether the MLP is gated (SwiGLU) or plain (GELU).
        tied: Whether the head shares the embedding's matrix.
        seq_len: Tokens in a sequence.
        base_width: Width at which the maximal-update parametrisation is the standard one; None
            for the standard one at every width.
        base_head_dim: Width of a head there.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    gated: bool
    tied: bool
    seq_len: int
    base_width: int | None = None
    base_head_dim: int | None = None

    @property
    def widening(self) -> float:
        """How many times as wide as the base it is; 1 in the standard parametrisation."""
        return 1.0 if self.base_width is None else self.width / self.base_width

    @property
    def score_scale(self) -> float:
        """Factor of attention scores: 1 / sqrt(d), or 1 / d that meets it at the base's heads."""
        return (self.base_head_dim or self.head_dim) ** 0.5 / self.head_dim

    def __post_init__(self) -> None:
        for name in ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "hidden"):
            if getattr(self, name) < 1:
                raise ScalaxError(
                    f"expected 1 or more, got {getattr(self, name)}", where=f"model.{name}"
                )
        if self.heads % self.kv_heads:
            raise ScalaxError(
                f"{self.heads} heads cannot share {self.kv_heads} key-value heads evenly",
                where="model.kv_heads",
                fix="give a divisor of heads",
            )
        if self.head_dim % 2:
            raise ScalaxError(
                f"expected an even number, got {self.head_dim} (rotary positions turn pairs)",
                where="model.head_dim",
            )


def counts(shape: TransformerShape) -> Counts:
    """Exact parameter counts: embedding, blocks, norms, head; no biases anywhere."""
    s = shape
    attention = s.width * s.head_dim * (2 * s.heads + 2 * s.kv_heads)
    mlp = (3 if s.gated else 2) * s.width * s.hidden
    embedding = s.vocab * s.width
    head = 0 if s.tied else s.vocab * s.width
    params = embedding + s.layers * (attention + mlp + 2 * s.width) + s.width + head
    return Counts(params=params, params_embedding=embedding, params_active=params)


def forward_flops_per_token(
    shape: TransformerShape, attention: Literal["causal", "full"] = "causal"
) -> float:
    """Multiply-adds of every matrix product of a forward pass, times two, per token.

    Args:
        shape: The architecture.
        attention: ``causal`` counts the scores that the mask keeps, (seq_len + 1) / 2 of
            seq_len on average; ``full`` counts all, as a dense kernel computes them.

    Returns:
        FLOPs per token. Look-ups, norms, rotations and activations are not counted.
    """
    s = shape
    projections = 2 * s.width * s.head_dim * (2 * s.heads + 2 * s.kv_heads)
    mlp = 2 * (3 if s.gated else 2) * s.width * s.hidden
    keys = s.seq_len if attention == "full" else (s.seq_len + 1) / 2
    scores = 2 * 2 * s.heads * s.head_dim * keys
    return s.layers * (projections + mlp + scores) + 2 * s.width * s.vocab


def flops_per_token(
    shape: TransformerShape, attention: Literal["causal", "full"] = "causal"
) -> float:
    """Training FLOPs per token: forward, and twice that for backward; no recomputation."""
    return 3 * forward_flops_per_token(shape, attention)


@dataclass(frozen=True)
class Fixed:
    """What a user fixes of a shape; None leaves it to the search. Widths are heads x head_dim.

    Attributes:
        width: Width of the residual stream.
        layers: Blocks.
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
    """The shape of a target size: all parameters within 10 % of it, width to depth by the recipe.

    The MLP's width is adjusted by up to a third to meet the size.

    Args:
        params: Target for all parameters; None for the size that ``fixed`` comes to, which must
            hold a width and layers.
        vocab: Size of the vocabulary.
        seq_len: Tokens in a sequence.
        gated: Whether the MLP is gated.
        tied: Whether the head shares the embedding.
        kv_groups: Query heads to a key-value head.
        fixed: What is not searched.
        recipe: Its usual proportions.

    Raises:
        ScalaxError: No shape of this vocabulary comes within 10 %, or what is fixed contradicts
            itself.

    Example:
        >>> counts(shape_for(1e8, vocab=32000, seq_len=1024)).params
        100039104
        >>> shape_for(1e8, vocab=32000, seq_len=1024, fixed=Fixed(layers=24)).width
        480
    """
    fixed = fixed or Fixed()
    best: tuple[float, TransformerShape] | None = None
    nearest: tuple[float, int] | None = None
    for head_dim, heads in _widths(kv_groups, fixed, recipe):
        width = head_dim * heads
        if params is not None and vocab * width * (1 if tied else 2) > 1.1 * params:
            break
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
            if params is None:
                return shape
            if fixed.hidden is None:
                shape = _with_hidden_for(shape, params, recipe)
            count = counts(shape).params
            miss = abs(math.log(count / params))
            if nearest is None or miss < nearest[0]:
                nearest = (miss, count)
            if abs(count / params - 1) > 0.1:
                continue
            stretch = abs(math.log(width / layers / recipe.width_per_layer(width)))
            swell = abs(math.log(shape.hidden / recipe.hidden(width, gated)))
            cost = stretch + swell + 10 * miss
            if best is None or cost < best[0]:
                best = (cost, shape)
    if best is None:
        hint = f"the nearest has {nearest[1]:,}" if nearest else "the vocabulary alone is larger"
        told = f" with {fixed}" if str(fixed) else ""
        raise ScalaxError(
            f"no transformer of vocabulary {vocab}{told} has about {params:,.0f} parameters: "
            f"{hint}",
            where="model",
            fix="ask for another size"
            + ("" if tied else ", or tied = true")
            + (f", or leave out one of {fixed}" if told else ""),
        )
    return best[1]


def _with_hidden_for(
    shape: TransformerShape, params: float, recipe: TransformerRecipe
) -> TransformerShape:
    """The MLP made up to a third wider or narrower, where that brings the count nearer."""
    matrices = (3 if shape.gated else 2) * shape.layers * shape.width
    usual = recipe.hidden(shape.width, shape.gated)
    step = recipe.hidden_step(shape.width)
    wanted = shape.hidden + (params - counts(shape).params) / matrices
    hidden = round(min(max(wanted, 0.75 * usual), 4 / 3 * usual) / step) * step
    return replace(shape, hidden=max(step, hidden))


def _widths(kv_groups: int, fixed: Fixed, recipe: TransformerRecipe) -> list[tuple[int, int]]:
    """Head widths and numbers of heads, by growing width; heads are wider in wider models."""
    if fixed.heads is not None and fixed.heads % kv_groups:
        raise ScalaxError(
            f"{fixed.heads} heads are not whole groups of {kv_groups}",
            where="model.kv_groups",
            fix="give a divisor of heads",
        )
    if fixed.width is not None:
        return [_heads_of(fixed.width, kv_groups, fixed, recipe)]
    if fixed.heads is not None:
        dims = [fixed.head_dim] if fixed.head_dim is not None else _HEAD_DIMS
        return [(dim, fixed.heads) for dim in dims]
    if fixed.head_dim is not None:
        return [
            (fixed.head_dim, heads)
            for heads in range(kv_groups, _MOST // fixed.head_dim, kv_groups)
        ]
    found = []
    for (least, head_dim), (most, _) in itertools.pairwise((*recipe.head_dims, (_MOST, 0))):
        found += [(head_dim, width // head_dim) for width in range(least, most, head_dim)]
    return [(dim, heads) for dim, heads in found if heads % kv_groups == 0]


def _heads_of(
    width: int, kv_groups: int, fixed: Fixed, recipe: TransformerRecipe
) -> tuple[int, int]:
    """Head width and heads of a given width: the usual head width, or the next that divides it."""
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
    told = Fixed(heads=fixed.heads, head_dim=fixed.head_dim)
    shares = f"{told}" if str(told) else "heads of 8 to 256"
    raise ScalaxError(
        f"a width of {width} is not made up of {shares}"
        + (f" in groups of {kv_groups}" if kv_groups > 1 else "")
        + ": width = heads x head_dim",
        where="model.width",
        fix="change one of them, or leave one out",
    )


def _layers(
    params: float | None, width: int, gated: bool, fixed: Fixed, recipe: TransformerRecipe
) -> range:
    if fixed.layers is not None:
        return range(fixed.layers, fixed.layers + 1)
    assert params is not None  # without a target, layers are given
    block = 4 * width * width + (3 if gated else 2) * width * (
        fixed.hidden or recipe.hidden(width, gated)
    )
    most = min(256, int(1.2 * params / block) + 1)
    if fixed.width is not None:  # the size is met by depth alone
        return range(1, most + 1)
    ideal = width / recipe.width_per_layer(width)
    return range(max(1, int(ideal / 4)), max(1, min(most, int(4 * ideal) + 1)) + 1)
