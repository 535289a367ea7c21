"""Compute-optimal sizes as power laws of the budget, for papers that give no law of the loss."""

from __future__ import annotations

from dataclasses import dataclass

from scalax.errors import ScalaxError
from scalax.laws.base import Array, ComputeRule


@dataclass(frozen=True)
class Frontier:
    """N* = k C^a and D* = l C^b. One of them is enough: the compute rule gives the other.

    Attributes:
        params: k and a, or None.
        tokens: l and b, or None.

    Example:
        >>> rule = Frontier(params=(0.1, 0.5))
        >>> [f"{float(v):.3g}" for v in rule.split(6e20, ComputeRule())]
        ['2.45e+09', '4.08e+10']
    """

    params: tuple[float, float] | None = None
    tokens: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.params is None and self.tokens is None:
            raise ScalaxError("expected params or tokens as a power law", where="allocation")

    def split(self, flops: Array, compute: ComputeRule) -> tuple[Array, Array]:
        """Returns params and tokens for a budget in FLOPs."""
        if self.tokens is None:
            assert self.params is not None
            params = self.params[0] * flops ** self.params[1]
            return params, compute.tokens(params, flops)
        tokens = self.tokens[0] * flops ** self.tokens[1]
        if self.params is not None:
            return self.params[0] * flops ** self.params[1], tokens
        return (flops / (compute.coefficient * tokens)) ** (1 / compute.exponent), tokens

    @property
    def equation(self) -> str:
        """The rule in plain text."""
        parts = [
            f"{symbol} = {pair[0]:.6g} C^{pair[1]:.6g}"
            for symbol, pair in (("N*", self.params), ("D*", self.tokens))
            if pair
        ]
        return ", ".join(parts) if len(parts) == 2 else f"{parts[0]}, C = 6 N* D*"

    @property
    def coefficients(self) -> dict[str, float]:
        """The numbers by name."""
        values = {}
        for name, pair in (("params", self.params), ("tokens", self.tokens)):
            if pair:
                values[f"{name}_coefficient"], values[f"{name}_exponent"] = pair
        return values
