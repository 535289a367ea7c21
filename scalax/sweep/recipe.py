"""``[recipe]``: an experiment's own laws of batch, learning rate, decay and warm-up.

They stand in place of the family's recipe; what [train] fixes stands above both. It plans no run.
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
        """The law itself."""
        return PowerProduct(**self.model_dump())


class RecipeSection(Settings):
    """``[recipe]``: laws in params N, tokens D and flops C, each in place of the family's.

    Attributes:
        law: Of learning rate and batch: a published one by name, or a JSON file, such as the
            hyperparameters.json that a sweep over both leaves.
        learning_rate: Of the peak.
        batch_tokens: Of the batch, in tokens, rounded to a power of two of examples.
        weight_decay: Of the decoupled weight decay.
        beta2_tokens: Half-life of Adam's second moment, in tokens, whatever the batch is.
        warmup_tokens: Length of the warm-up, in tokens.
    """

    law: str | None = None
    learning_rate: PowerLaw | None = None
    batch_tokens: PowerLaw | None = None
    weight_decay: PowerLaw | None = None
    beta2_tokens: PowerLaw | None = None
    warmup_tokens: PowerLaw | None = None

    @property
    def laws(self) -> dict[str, PowerProduct]:
        """Those given, by name.

        Raises:
            ScalaxError: The law named is unknown, or the file is none.
        """
        found = read_law(self.law) if self.law else {}
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "law"}
        return found | {name: law.product for name, law in given.items() if law is not None}


@dataclass(frozen=True)
class RecipeChooser:
    """Chooses what runs are trained with: by [train], else by [recipe], else by the family.

    Attributes:
        experiment: As read.
        family: Its model family.
        data: Its dataset.
    """

    experiment: Experiment
    family: ModelFamily
    data: DataSpec

    def recipe(self, shape: Any, units: float) -> Recipe:
        """The hyperparameters of a shape and an amount of data.

        Raises:
            ScalaxError: A law gives what cannot be trained with, or contradicts the shape's
                parametrisation.
        """
        train, laws = self.experiment.train, self.experiment.recipe.laws
        given = {name: getattr(train, name) for name in _FIXED if getattr(train, name) != "auto"}
        if train.clip != "auto":
            given["clip"] = None if train.clip == "none" else train.clip
        at = self._at(shape, units)
        found: dict[str, Any] = {}
        for name, most in (("learning_rate", 1.0), ("weight_decay", 1e3)):
            if name in laws and name not in given:
                found[name] = _value(name, laws[name], at, most)
        each = self.data.units_per_example
        if "batch_tokens" in laws and "batch" not in given:
            found["batch"] = examples_of(_value("batch_tokens", laws["batch_tokens"], at), each)
        recipe = replace(self.family.recipe(shape, units, self.data), **found | given)
        if "beta2_tokens" in laws and "beta2" not in given:
            half_life = _value("beta2_tokens", laws["beta2_tokens"], at, most=1e30)
            recipe = replace(recipe, beta2=0.5 ** (recipe.batch * each / half_life))
        if self.family.transfers_rate(shape):
            _one_rate_law(laws.get("learning_rate"), recipe)
        return recipe

    def warmup_steps(self, recipe: Recipe, shape: Any, longest: float, fewest: int) -> int:
        """Steps of warm-up.

        Args:
            recipe: As chosen.
            shape: The architecture.
            longest: Tokens of the longest run that shares the trunk.
            fewest: Steps of the shortest, which has to hold all of it.

        Raises:
            ScalaxError: It does not.
        """
        law = self.experiment.recipe.laws.get("warmup_tokens")
        if law is None or self.experiment.train.warmup != "auto":
            return round(recipe.warmup * fewest)
        at = self._at(shape, longest)
        wanted = _value("warmup_tokens", law, at)
        steps = round(wanted / (recipe.batch * self.data.units_per_example))
        if steps >= fewest:
            raise ScalaxError(
                f"{wanted:,.0f} {self.data.unit} of warm-up are {steps} steps, and the shortest "
                f"run of {at['params']:,.0f} params has {fewest}",
                where="recipe.warmup_tokens",
                fix="lower the law, or train for longer",
            )
        return steps

    def _at(self, shape: Any, units: float) -> dict[str, float]:
        return {
            "params": float(self.family.counts(shape).params),
            "tokens": units,
            "flops": self.family.flops_per_unit(shape) * units,
        }


def _value(name: str, law: PowerProduct, at: dict[str, float], most: float | None = None) -> float:
    """What a law gives, by default of as many tokens as there are at most."""
    value, most = float(law(**at)), most or at["tokens"]
    if not 0 < value <= most:
        raise ScalaxError(
            f"{law.equation} is {value:.3g} at {at['params']:,.0f} params and "
            f"{at['tokens']:,.0f} tokens, and cannot be more than {most:g}",
            where=f"recipe.{name}",
            fix="mend the law",
        )
    return value


def _one_rate_law(law: PowerProduct | None, recipe: Recipe) -> None:
    """Refuses what contradicts a parametrisation that carries the learning rate by itself."""
    if law is not None and (law.params or law.flops):
        raise ScalaxError(
            f"{law.equation} changes with size, and so does the parametrisation's own scaling",
            where="recipe.learning_rate",
            fix="give the rate of the base size, of tokens at most",
        )
    if recipe.optimizer != "adamw":
        raise ScalaxError(
            f"the parametrisation scales learning rates for adamw, not {recipe.optimizer}",
            where="train.optimizer",
            fix='write optimizer = "adamw"',
        )
