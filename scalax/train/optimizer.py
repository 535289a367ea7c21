"""Optimisers as Optax transformations without the learning rate, which the train step applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from scalax.shapes.base import Recipe


def make_optimizer(recipe: Recipe, params: Any) -> optax.GradientTransformation:
    """Returns AdamW with weight decay on matrices only, or SGD with momentum; clips first if set.

    A parameter's ``rate_scale`` multiplies its update but not its decay, so that learning rate
    times weight decay is the same for all parameters (Yang et al. 2022, arXiv:2203.03466: MuAdamW).

    Args:
        recipe: Hyperparameters. The learning rate is ignored.
        params: An ``nnx.State`` of (abstract) parameters, with their metadata.

    Returns:
        A transformation; the caller multiplies its updates by minus the learning rate.
    """
    parts = [] if recipe.clip is None else [optax.clip_by_global_norm(recipe.clip)]
    if recipe.optimizer == "adamw":
        parts.append(optax.scale_by_adam(b1=recipe.beta1, b2=recipe.beta2))
    else:
        parts.append(optax.trace(decay=recipe.beta1))
    scales = rate_scales(params)
    if any(scale != 1.0 for scale in jax.tree.leaves(scales)):
        parts.append(_scale_by(scales))
    if recipe.weight_decay:
        parts.append(optax.add_decayed_weights(recipe.weight_decay, mask=matrices(params)))
    return optax.chain(*parts)


def matrices(params: Any) -> Any:
    """Returns which parameters are matrices: two or more axes, without the axis of stacked layers.

    Args:
        params: An ``nnx.State`` of (abstract) parameters, with their logical axis names.
    """

    def is_matrix(param: nnx.Variable) -> bool:
        names = param.get_metadata().get("out_sharding") or (None,) * len(param.shape)
        return sum(name != "layers" for name in names) > 1

    return _map_variables(is_matrix, params)


def rate_scales(params: Any) -> Any:
    """Returns the factor of each parameter's learning rate: its ``rate_scale``, by default 1."""
    return _map_variables(lambda param: float(param.get_metadata().get("rate_scale", 1.0)), params)


def _map_variables(function: Callable[[nnx.Variable], Any], params: Any) -> Any:
    return jax.tree.map(
        lambda param: param.replace(function(param)),
        params,
        is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
    )


def _scale_by(scales: Any) -> optax.GradientTransformation:
    def update(updates: Any, params: Any = None) -> Any:
        del params
        return jax.tree.map(jnp.multiply, updates, scales)

    return optax.stateless(update)
