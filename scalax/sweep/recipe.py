"""``[recipe]``: an experiment's own laws of batch, learning rate, weight decay and warm-up.

These laws replace the family's recipe. Values in ``[train]`` take precedence over both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from scalax.errors import ScalaxError
from scalax.laws.hyperparameters import PowerProduct, read_law
from scalax.models.base import ModelFamily
from scalax.schema import Settings
from scalax.shapes.base import DataSpec, Recipe, examples_of

if TYPE_CHECKING:
    from scalax.sweep.experiment import Experiment

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=-10, le=10)]
_FIXED = ("batch", "learning_rate", "optimizer", "weight_decay", "beta1", "beta2", "warmup")


class PowerLaw(Settings):
    """coefficient x params^a x tokens^b x flops^c."""

    coefficient: Positive
    params: Exponent = 0.0
    tokens: Exponent = 0.0
    flops: Exponent = 0.0

    @property
    def product(self) -> PowerProduct:
        """The section as a law."""
        return PowerProduct(**self.model_dump())


class RecipeSection(Settings):
    """``[recipe]``: laws in params N, tokens D and flops C that replace the family's recipe.

    Attributes:
        law: Laws of learning rate and batch: the name of a published one, or a JSON file, such as
            the hyperparameters.json of a sweep over both.
        learning_rate: Law of the peak learning rate.
        batch_tokens: Law of the batch size in tokens; the batch is rounded to a power of two of
            examples.
        weight_decay: Law of the decoupled weight decay.
        beta2_tokens: Law of the half-life of Adam's second moment, in tokens.
        warmup_tokens: Law of the length of the warm-up, in tokens.
    """

    law: str | None = None
    learning_rate: PowerLaw | None = None
    batch_tokens: PowerLaw | None = None
    weight_decay: PowerLaw | None = None
    beta2_tokens: PowerLaw | None = None
    warmup_tokens: PowerLaw | None = None

    @property
    def laws(self) -> dict[str, PowerProduct]:
        """Returns the laws of the section by name.

        Raises:
            ScalaxError: ``law`` is neither a published law nor a file with one.
        """
        laws = read_law(self.law) if self.law else {}
        sections = {name: getattr(self, name) for name in type(self).model_fields if name != "law"}
        return laws | {name: law.product for name, law in sections.items() if law is not None}


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
            ScalaxError: A law's value cannot be trained with, or the law contradicts the
                parametrisation of the shape.
        """
        train, laws = self.experiment.train, self.experiment.recipe.laws
        given = {name: getattr(train, name) for name in _FIXED if getattr(train, name) != "auto"}
        if train.clip != "auto":
            given["clip"] = None if train.clip == "none" else train.clip
        point = self._point(shape, units)
        from_laws: dict[str, Any] = {}
        for name, most in (("learning_rate", 1.0), ("weight_decay", 1e3)):
            if name in laws and name not in given:
                from_laws[name] = _evaluate(name, laws[name], point, most)
        per_example = self.data.units_per_example
        if "batch_tokens" in laws and "batch" not in given:
            tokens = _evaluate("batch_tokens", laws["batch_tokens"], point)
            from_laws["batch"] = examples_of(tokens, per_example)
        recipe = replace(self.family.recipe(shape, units, self.data), **from_laws | given)
        if "beta2_tokens" in laws and "beta2" not in given:
            half_life = _evaluate("beta2_tokens", laws["beta2_tokens"], point, most=1e30)
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
                f"{tokens:,.0f} {self.data.unit} of warm-up are {steps} steps, and the shortest "
                f"run of {point['params']:,.0f} params has {fewest}",
                where="recipe.warmup_tokens",
                fix="lower the law, or train for longer",
            )
        return steps

    def _point(self, shape: Any, units: float) -> dict[str, float]:
        return {
            "params": float(self.family.counts(shape).params),
            "tokens": units,
            "flops": self.family.flops_per_unit(shape) * units,
        }


def _evaluate(
    name: str, law: PowerProduct, point: dict[str, float], most: float | None = None
) -> float:
    """Evaluates a hyperparameter law and checks that the result is positive and within its bound.

    Args:
        name: Key of the law in ``[recipe]``.
        law: The law.
        point: Params, tokens and flops of the run.
        most: Largest value allowed; by default the tokens of the run.
    """
    value, most = float(law(**point)), most or point["tokens"]
    if not 0 < value <= most:
        raise ScalaxError(
            f"{law.equation} is {value:.3g} at {point['params']:,.0f} params and "
            f"{point['tokens']:,.0f} tokens, and cannot be more than {most:g}",
            where=f"recipe.{name}",
            fix="correct the law",
        )
    return value


def _check_transfer(law: PowerProduct | None, recipe: Recipe) -> None:
    """Rejects settings that contradict a parametrisation that transfers the learning rate."""
    if law is not None and (law.params or law.flops):
        raise ScalaxError(
            f"{law.equation} changes with size, and so does the parametrisation's own scaling",
            where="recipe.learning_rate",
            fix="give the rate at the base size; it may depend on tokens",
        )
    if recipe.optimizer != "adamw":
        raise ScalaxError(
            f"the parametrisation scales learning rates for adamw, not {recipe.optimizer}",
            where="train.optimizer",
            fix='write optimizer = "adamw"',
        )
