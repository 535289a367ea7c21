"""Gadre's form: compute and the tokens per parameter, for models trained past the optimum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers

_LOG6 = math.log(6.0)


class Overtraining(Law):
    """L(C, M) = E + (a M^eta + b M^-eta) C^-eta, with C = 6ND and M = D / N.

    Gadre et al. 2024 (arXiv:2403.08540), equation 4: Chinchilla with equal exponents 2 eta, so
    that at each fixed M the loss is a power law in compute of one exponent. C is 6ND by
    definition here, whatever the runs' own count.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.51, "a": 141.0, "b": 190.0, "eta": 0.121}
        >>> round(float(Overtraining().loss(np, c, {"params": 1.4e9, "tokens": 2.8e10})), 2)
        2.66
    """

    name: ClassVar[str] = "overtraining"
    title: ClassVar[str] = "compute and tokens per parameter, one exponent at every ratio"
    equation: ClassVar[str] = "L = E + (a M^eta + b M^-eta) C^-eta, C = 6ND, M = D / N"
    source: ClassVar[str] = "Gadre et al. 2024, arXiv:2403.08540, equation 4"
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="loss that no scale removes"),
        Coefficient("a", "linear", 1e-9, 1e20, meaning="cost of too few params"),
        Coefficient("b", "linear", 1e-9, 1e20, meaning="cost of too few tokens"),
        Coefficient(
            "eta", "exponent", 1e-3, 1.5, tuple(0.02 * k for k in range(1, 41)), "exponent of C"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "a": (50.0, 400.0),
        "b": (50.0, 400.0),
        "eta": (0.09, 0.2),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        one, by_params, by_tokens = self.basis(xp, c, x)
        return c["E"] * one + c["a"] * by_params + c["b"] * by_tokens

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E, a and b: M / C is 1 / (6 N^2), and 1 / (M C) is 1 / (6 D^2)."""
        by_params = xp.exp(-c["eta"] * (_LOG6 + 2 * xp.log(x["params"])))
        by_tokens = xp.exp(-c["eta"] * (_LOG6 + 2 * xp.log(x["tokens"])))
        return [1.0, by_params, by_tokens]

    def terms(self, x: Mapping[str, Array]) -> list[dict[str, Array]]:
        """The three terms as exponentials; see `Law.terms`."""
        return [
            {"E": 1.0},
            {"a": 1.0, "eta": -(_LOG6 + 2 * np.log(x["params"]))},
            {"b": 1.0, "eta": -(_LOG6 + 2 * np.log(x["tokens"]))},
        ]

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Chinchilla's closed form, both exponents 2 eta; under 6ND, M* = (b / a)^(1 / 2 eta)."""
        slope = 2 * c["eta"]
        return split_two_powers(slope, np.log(c["a"]), slope, np.log(c["b"]), flops, compute)
