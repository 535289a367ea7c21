"""The optimisers, as Optax transformations without their learning rate, which the step applies."""

from __future__ import annotations

from typing import Any

import jax
import optax

from scalax.shapes.base import Recipe


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """AdamW with decay on matrices alone, or SGD with momentum; clipping first where asked.

    Returns:
        A transformation whose updates are to be scaled by minus the learning rate.
    """
    parts = [] if recipe.clip is None else [optax.clip_by_global_norm(recipe.clip)]
    if recipe.optimizer == "adamw":
        parts.append(optax.scale_by_adam(b1=recipe.beta1, b2=recipe.beta2))
    else:
        parts.append(optax.trace(decay=recipe.beta1))
    if recipe.weight_decay:
        parts.append(optax.add_decayed_weights(recipe.weight_decay, mask=_matrices))
    return optax.chain(*parts)


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)
