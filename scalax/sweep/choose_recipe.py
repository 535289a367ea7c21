"""Chooses the hyperparameters of each run of a sweep.

A value in ``[train]`` comes first, then a law in ``[recipe]``, then the recipe of the family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from scalax.errors import ScalaxError
from scalax.laws.power_product import PowerProduct
from scalax.models.base import ModelFamily
from scalax.shapes.base import DataSpec, Recipe, examples_of
from scalax.sweep.experiment import Experiment

_FIXED = ("batch", "learning_rate", "optimizer", "weight_decay", "beta1", "beta2", "warmup")
"""Keys of ``[train]`` that fix a hyperparameter."""


@dataclass(frozen=True)
class RecipeChooser:
    """Chooses hyperparameters: from [train], else from [recipe], else from the family's recipe.

    Attributes:
        experiment: The experiment as read.
        family: Its model family.
        data: Its dataset.
    """

    experiment: Experiment
    family: ModelFamily
    data: DataSpec

    def recipe(self, shape: Any, units: float) -> Recipe:
        """Returns the hyperparameters of a shape and an amount of data.

        Args:
            shape: The architecture.
            units: Tokens (or examples) to train on.

        Raises:
            ScalaxError: The value of a law is out of bounds, or the law contradicts the
                parametrisation of the shape.
        """
        train, laws = self.experiment.train, self.experiment.recipe.laws
        given = {name: getattr(train, name) for name in _FIXED if getattr(train, name) != "auto"}
        if train.clip != "auto":
            given["clip"] = None if train.clip == "none" else train.clip
        point = self._point(shape, units)
        from_laws: dict[str, Any] = {}
        for name, upper in (("learning_rate", 1.0), ("weight_decay", 1e3)):
            if name in laws and name not in given:
                from_laws[name] = _evaluate(name, laws[name], point, upper)
        per_example = self.data.units_per_example
        if "batch_tokens" in laws and "batch" not in given:
            tokens = _evaluate("batch_tokens", laws["batch_tokens"], point)
            from_laws["batch"] = examples_of(tokens, per_example)
        recipe = replace(self.family.recipe(shape, units, self.data), **from_laws | given)
        if "beta2_tokens" in laws and "beta2" not in given:
            half_life = _evaluate("beta2_tokens", laws["beta2_tokens"], point, upper=1e30)
            recipe = replace(recipe, beta2=0.5 ** (recipe.batch * per_example / half_life))
        if self.family.transfers_rate(shape):
            _check_transfer(laws.get("learning_rate"), recipe)
        return recipe

    def warmup_steps(self, recipe: Recipe, shape: Any, longest: float, fewest: int) -> int:
        """Returns the steps of warm-up.

        Args:
            recipe: The hyperparameters of the run.
            shape: The architecture.
            longest: Tokens of the longest run that shares the trunk.
            fewest: Steps of the shortest run, which must contain the whole warm-up.

        Raises:
            ScalaxError: The warm-up is longer than the shortest run.
        """
        law = self.experiment.recipe.laws.get("warmup_tokens")
        if law is None or self.experiment.train.warmup != "auto":
            return round(recipe.warmup * fewest)
        point = self._point(shape, longest)
        tokens = _evaluate("warmup_tokens", law, point)
        steps = round(tokens / (recipe.batch * self.data.units_per_example))
        if steps >= fewest:
            raise ScalaxError(
                f"the warm-up of {tokens:,.0f} {self.data.unit} takes {steps} steps, but the "
                f"shortest run of {point['params']:,.0f} params has only {fewest}",
                where="recipe.warmup_tokens",
                fix="lower the coefficient of the law, or raise the smallest token count",
            )
        return steps

    def _point(self, shape: Any, units: float) -> dict[str, float]:
        return {
            "params": float(self.family.counts(shape).params),
            "tokens": units,
            "flops": self.family.flops_per_unit(shape) * units,
        }


def _evaluate(
    name: str, law: PowerProduct, point: dict[str, float], upper: float | None = None
) -> float:
    """Evaluates a hyperparameter law and checks that the result is positive and within its bound.

    Args:
        name: Key of the law in ``[recipe]``.
        law: The law.
        point: Params, tokens and flops of the run.
        upper: Largest value allowed; by default the tokens of the run.

    Raises:
        ScalaxError: The value is not positive, or is larger than ``upper``.
    """
    value, upper = float(law(**point)), upper or point["tokens"]
    if not 0 < value <= upper:
        raise ScalaxError(
            f"expected more than 0 and at most {upper:g}, got {value:.3g} from {law.equation} at "
            f"{point['params']:,.0f} params and {point['tokens']:,.0f} tokens",
            where=f"recipe.{name}",
            fix="correct its coefficient or its exponents",
        )
    return value


def _check_transfer(law: PowerProduct | None, recipe: Recipe) -> None:
    """Rejects settings that contradict a parametrisation that transfers the learning rate."""
    if law is not None and (law.params or law.flops):
        raise ScalaxError(
            f"{law.equation} changes with size, but mup already scales the rate with size",
            where="recipe.learning_rate",
            fix="remove params and flops from the law: give the rate at the base width",
        )
    if recipe.optimizer != "adamw":
        raise ScalaxError(
            f"the mup parametrisation scales learning rates for adamw only, got {recipe.optimizer}",
            where="train.optimizer",
            fix='write optimizer = "adamw"',
        )
