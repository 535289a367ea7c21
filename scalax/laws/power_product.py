"""Forms of hyperparameter laws: products of powers of size, data and compute."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from scalax.laws.base import Array


@dataclass(frozen=True)
class PowerProduct:
    """A quantity = coefficient * params^a * tokens^b * flops^c.

    Attributes:
        coefficient: The quantity at params = tokens = flops = 1.
        params: Exponent of the parameters.
        tokens: Exponent of the training tokens.
        flops: Exponent of the training compute.

    Example:
        >>> PowerProduct(2.0, tokens=0.5)(params=1e9, tokens=1e10, flops=6e19)
        200000.0
    """

    coefficient: float
    params: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0

    def __call__(self, *, params: Array, tokens: Array, flops: Array) -> Array:
        """Returns the quantity at params, training tokens and training FLOPs."""
        return self.coefficient * params**self.params * tokens**self.tokens * flops**self.flops

    @property
    def equation(self) -> str:
        """The product in plain text."""
        powers = (("N", self.params), ("D", self.tokens), ("C", self.flops))
        return f"{self.coefficient:g}" + "".join(f" {s}^{e:g}" for s, e in powers if e)


@dataclass(frozen=True)
class HyperparameterLaw:
    """Laws of the peak learning rate and the batch size, from one source.

    Attributes:
        learning_rate: The peak learning rate.
        batch_tokens: The batch size, in tokens.
        ranges: Least and greatest params, tokens or flops of the runs that the laws come from.
        learning_rate_max: Upper limit of the learning rate.
    """

    learning_rate: PowerProduct
    batch_tokens: PowerProduct
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    learning_rate_max: float = math.inf

    def __call__(self, params: float, tokens: float, flops: float) -> tuple[float, float]:
        """Returns the peak learning rate and the batch size in tokens."""
        at = {"params": params, "tokens": tokens, "flops": flops}
        rate = min(self.learning_rate_max, float(self.learning_rate(**at)))
        return rate, float(self.batch_tokens(**at))

    def outside(self, params: float, tokens: float, flops: float) -> float:
        """Returns the largest factor by which a point is outside ``ranges``; 1 if it is inside."""
        at = {"params": params, "tokens": tokens, "flops": flops}
        return max(
            (max(low / at[k], at[k] / high, 1.0) for k, (low, high) in self.ranges.items()),
            default=1.0,
        )

    @property
    def equation(self) -> str:
        """Both products in plain text."""
        rate, batch = self.learning_rate.equation, self.batch_tokens.equation
        return f"learning rate = {rate}, batch = {batch} tokens"

    @property
    def coefficients(self) -> dict[str, float]:
        """The numbers by name."""
        values = {}
        for name in ("learning_rate", "batch_tokens"):
            product: PowerProduct = getattr(self, name)
            values[f"{name}_coefficient"] = product.coefficient
            for variable in ("params", "tokens", "flops"):
                if exponent := getattr(product, variable):
                    values[f"{name}_{variable}_exponent"] = exponent
        return values
