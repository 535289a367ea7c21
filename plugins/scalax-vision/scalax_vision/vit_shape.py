"""Shape, exact parameter counts and FLOPs of a Vision Transformer, and its size search.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

import scalax as sx
from scalax_vision.classify import Image

Pool = Literal["mean", "token"]
Positions = Literal["sincos", "learned"]

_CANDIDATES = 64  # transformers to try for one target, evenly spaced in their logarithm
_HIDDEN_STEP = 4  # MLP widths are multiples of this
_MAX_STRETCH = 1.5  # largest change of the MLP's usual width


@dataclass(frozen=True)
class ViTShape:
    """A Vision Transformer with biases in all layers (Dosovitskiy et al. 2021, arXiv:2010.11929).

    Attributes:
        image: Height, width and channels of an image.
        patch: Side of a patch, in pixels.
        width: Width of the residual stream.
        layers: Number of blocks.
        heads: Number of attention heads.
        head_dim: Width of a head.
        hidden: Width of the MLP.
        classes: Number of labels.
        pool: Input of the head: the mean over patches, or a class token.
        positions: Position encoding of patches: fixed sines and cosines, or learned.
    """

    image: Image
    patch: int
    width: int
    layers: int
    heads: int
    head_dim: int
    hidden: int
    classes: int
    pool: Pool
    positions: Positions

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image[0] // self.patch, self.image[1] // self.patch

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return math.prod(self.grid)

    @property
    def length(self) -> int:
        """Length of the sequence: the patches, and the class token if there is one."""
        return self.patches + (self.pool == "token")

    @property
    def patch_values(self) -> int:
        """Number of values in a patch."""
        return self.patch**2 * self.image[2]


def counts(shape: ViTShape) -> sx.Counts:
    """Returns exact parameter counts; there is no token embedding.

    Example:
        >>> fixed = sx.FixedShape(width=768, layers=12, heads=12, hidden=3072)
        >>> base = shape_for(
        ...     None, image=(224, 224, 3), classes=1000, patch=16, pool="token",
        ...     positions="learned", fixed=fixed,
        ... )
        >>> counts(base).params
        86567656
    """
    s, inner = shape, shape.heads * shape.head_dim
    attention = 3 * (s.width + 1) * inner + (inner + 1) * s.width
    mlp = (s.width + 1) * s.hidden + (s.hidden + 1) * s.width
    into = (s.patch_values + 1) * s.width
    if s.pool == "token":
        into += s.width
    if s.positions == "learned":
        into += s.length * s.width
    blocks = s.layers * (attention + mlp + 4 * s.width)
    params = into + blocks + 2 * s.width + (s.width + 1) * s.classes
    return sx.Counts(params=params, params_embedding=0, params_active=params)


def flops_per_example(shape: ViTShape) -> float:
    """Returns training FLOPs of one example: two per multiply-add of a matrix product.

    The backward pass repeats the forward products twice, but those of the patch embedding once,
    since the gradient of the image is never computed. Norms, softmax, GELU, biases, loss and
    optimiser are not counted.
    """
    s, inner = shape, shape.heads * shape.head_dim
    into = s.patches * s.patch_values * s.width
    maps = 4 * s.width * inner + 2 * s.width * s.hidden
    blocks = s.layers * s.length * (maps + 2 * s.length * inner)
    return 2.0 * (2 * into + 3 * (blocks + s.width * s.classes))


def usual_patch(image: Image) -> int:
    """Returns the default side of a patch, in pixels: about the square root of the shorter side.

    For ImageNet it is 16, as in ViT-B/16. On 8x8 digits 4 is better than 2: held-out losses of 0.12
    and 0.39 after 8,000 examples with 48,000 parameters, means of three seeds (``scalax run
    experiments/digits-vit.toml --set "sweep.params=[48_000]" --set "sweep.tokens=[8_000]" --set
    model.patch=2``).

    Example:
        >>> [usual_patch((side, side, 3)) for side in (8, 28, 32, 224)]
        [4, 7, 8, 16]
    """
    height, width, _ = image
    side = min(height, width)
    whole = (n for n in range(1, side // 2 + 1) if height % n == 0 and width % n == 0)
    return min(whole, key=lambda n: (max(n * n / side, side / n / n), -n), default=1)


def shape_for(
    params: float | None,
    *,
    image: Image,
    classes: int,
    patch: int | None = None,
    pool: Pool = "mean",
    positions: Positions = "sincos",
    fixed: sx.FixedShape | None = None,
) -> ViTShape:
    """Returns the Vision Transformer whose parameters are within 10 % of a target size.

    Width, layers and heads have the proportions of scalax's transformer. The MLP's width changes by
    up to a half to meet the size. A net has one layer only if the size does not allow two, so that
    depth grows with size. On digits one layer is about as good as two, 0.125 against 0.118
    (``--set model.layers=1``, as in `usual_patch`).

    Args:
        params: Target for all parameters; None for the shape that ``fixed`` determines.
        image: Height, width and channels of an image.
        classes: Number of labels.
        patch: Side of a patch; `usual_patch` by default.
        pool: Input of the head.
        positions: Position encoding of patches.
        fixed: Sizes that are given and not searched.

    Raises:
        ScalaxError: The patches do not divide the image, or no shape comes within 10 %.

    Example:
        >>> shape = shape_for(2e4, image=(8, 8, 1), classes=10)
        >>> shape.patch, shape.width, shape.layers, shape.heads, counts(shape).params
        (4, 24, 2, 3, 19858)
    """
    fixed = fixed or sx.FixedShape()
    height, width, _ = image
    patch = patch or usual_patch(image)
    if height % patch or width % patch:
        raise sx.ScalaxError(
            f"images of {height} x {width} do not divide into patches of {patch} x {patch}",
            where="model.patch",
            fix=f"write {usual_patch(image)}, or another common divisor",
        )

    def member(body_params: float | None, fixed: sx.FixedShape) -> ViTShape:
        body = sx.transformer_shape(
            body_params,
            vocab=classes,
            seq_len=(height // patch) * (width // patch),
            gated=False,
            tied=True,
            fixed=fixed,
        )
        return ViTShape(
            image=image,
            patch=patch,
            width=body.width,
            layers=body.layers,
            heads=body.heads,
            head_dim=body.head_dim,
            hidden=body.hidden,
            classes=classes,
            pool=pool,
            positions=positions,
        )

    if params is None:
        return member(None, fixed)
    usual = list(_candidates(params, member, fixed))
    if not usual:
        member(params, fixed)  # raises the error of the fixed sizes
    stretched = usual if fixed.hidden else [_with_hidden_for(shape, params) for shape in usual]

    def cost(pair: tuple[ViTShape, ViTShape], distance: float) -> float:
        shape, usual = pair
        single = shape.layers == 1 and fixed.layers is None
        return abs(math.log(shape.hidden / usual.hidden)) + 10 * distance + single

    best, _ = sx.nearest_shape(
        params,
        zip(stretched, usual, strict=True),
        lambda pair: counts(pair[0]).params,
        cost=cost,
        what=f"ViT for images of {image} in patches of {patch}",
        fix="ask for another size, or other patches",
    )
    return best


def _candidates(
    params: float, member: Callable[[float, sx.FixedShape], ViTShape], fixed: sx.FixedShape
) -> Iterator[ViTShape]:
    """Yields shapes near the target; where the search gives one layer, also the same with two."""
    for size in np.geomspace(params / 4, 1.1 * params, _CANDIDATES):
        for depth in (fixed.layers, 2):
            try:
                shape = member(float(size), replace(fixed, layers=depth))
            except sx.ScalaxError:  # this size has no shape; try the others
                continue
            yield shape
            if shape.layers > 1 or fixed.layers is not None:
                break


def _with_hidden_for(shape: ViTShape, params: float) -> ViTShape:
    """Returns the shape with an MLP up to a half wider or narrower, nearer to the target."""
    params_per_unit = shape.layers * (2 * shape.width + 1)
    ideal = shape.hidden + (params - counts(shape).params) / params_per_unit
    hidden = min(max(ideal, shape.hidden / _MAX_STRETCH), shape.hidden * _MAX_STRETCH)
    return replace(shape, hidden=max(1, round(hidden / _HIDDEN_STEP)) * _HIDDEN_STEP)
