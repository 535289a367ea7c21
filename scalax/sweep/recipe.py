"""``[recipe]``: an experiment's own laws of batch, learning rate, weight decay and warm-up."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scalax.laws.hyperparameters import read_law
from scalax.laws.power_product import PowerProduct
from scalax.schema import Settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=-10, le=10)]


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
        law: Laws of learning rate and batch: the name of a published law, or a JSON file, such as
            the hyperparameters.json that a sweep over both writes.
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
