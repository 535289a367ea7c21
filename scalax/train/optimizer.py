"""The optimisers, as Optax transformations without their learning rate, which the step applies."""

from __future__ import annotations

from typing import Any

import jax
import optax
from flax import nnx

from scalax.shapes.base import Recipe


def make_optimizer(recipe: Recipe, decayed: Any) -> optax.GradientTransformation:
    """AdamW with decay on matrices alone, or SGD with momentum; clipping first where asked.

    Args:
        recipe: Hyperparameters; the learning rate is not among those used.
        decayed: Which parameters weight decay is for: a tree of bools, as `matrices` gives.

    Returns:
        A transformation whose updates are to be scaled by minus the learning rate.
    """
    parts = [] if recipe.clip is None else [optax.clip_by_global_norm(recipe.clip)]
    if recipe.optimizer == "adamw":
        parts.append(optax.scale_by_adam(b1=recipe.beta1, b2=recipe.beta2))
    else:
        parts.append(optax.trace(decay=recipe.beta1))
    if recipe.weight_decay:
        parts.append(optax.add_decayed_weights(recipe.weight_decay, mask=decayed))
    return optax.chain(*parts)


def matrices(params: Any) -> Any:
    """Which parameters are matrices: of two axes or more besides that of stacked layers.

    Args:
        params: An ``nnx.State`` of (abstract) parameters, with their logical axis names.
    """

    def one(param: nnx.Variable) -> nnx.Variable:
        names = param.get_metadata().get("out_sharding") or (None,) * len(param.shape)
        return param.replace(sum(name != "layers" for name in names) > 1)

    return jax.tree.map(one, params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
