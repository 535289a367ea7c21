"""Default hyperparameters of families that state no recipe."""

from __future__ import annotations

import math

from scalax.shapes.base import DataSpec, Recipe
from scalax.shapes.transformer_recipe import USUAL


def default_recipe(params: float, units: float, data: DataSpec) -> Recipe:
    """Returns AdamW hyperparameters to start from; a tuned recipe should replace them.

    Data in tokens uses the recipe of scalax's transformer. Data in examples uses batches that grow
    with the square root of the examples and a learning rate of 0.5 / sqrt(params), at most 0.01.

    Args:
        params: All parameters of the model.
        units: Training tokens or examples.
        data: The dataset.

    Example:
        >>> data = DataSpec("points", "examples", 1, {}, 2, 100, 100, "")
        >>> recipe = default_recipe(1e4, 64_000, data)
        >>> recipe.batch, recipe.learning_rate
        (32, 0.005)
    """
    if data.unit == "tokens":
        return USUAL.hyperparameters(params, units, data.units_per_example)
    return Recipe(
        batch=2 ** max(4, round(math.log2(math.sqrt(units) / 8))),
        learning_rate=min(0.01, 0.5 / math.sqrt(params)),
        weight_decay=0.0,
    )
