"""The law `template-plugin`: one exponent for params and tokens. Change the form to yours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx


class TemplatePlugin(sx.Law):
    """L(N, D) = E + A / N^alpha + B / D^alpha.

    Replace the equation, its source, the coefficients and the two methods below, in that order.
    Compute with ``xp`` alone: it is numpy for a query and jax.numpy where derivatives are wanted.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "template-plugin"
    title: ClassVar[str] = "a floor and one power of params and of tokens"
    equation: ClassVar[str] = "L = E + A / N^alpha + B / D^alpha"
    source: ClassVar[str] = "an example: name the paper and the equation"
    coefficients: ClassVar[tuple[sx.Coefficient, ...]] = (
        # name, role, least, greatest value; those that are not linear: where to start the search
        sx.Coefficient("E", "linear", 1e-9, 1e3, meaning="loss that no scale removes"),
        sx.Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        sx.Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        sx.Coefficient("alpha", "exponent", 1e-3, 3.0, (0.1, 0.2, 0.3, 0.5), "the exponent"),
    )
    # Plausible values of each coefficient: what `scalax plugins check` draws from.
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (1e2, 1e3),
        "B": (1e2, 1e4),
        "alpha": (0.2, 0.5),
    }

    def loss(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """The loss at columns ``x`` under coefficients ``c``; all broadcast."""
        one, by_params, by_tokens = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * by_params + c["B"] * by_tokens

    def basis(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> list[Any]:
        """What E, A and B are multiplied by: the linear coefficients, in order."""
        by_params = xp.exp(-c["alpha"] * xp.log(x["params"]))
        by_tokens = xp.exp(-c["alpha"] * xp.log(x["tokens"]))
        return [1.0, by_params, by_tokens]
