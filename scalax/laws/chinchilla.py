"""The Chinchilla form: a floor and two power laws, one in params and one in tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers

_EXPONENTS = tuple(0.05 * k for k in range(1, 31))


class Chinchilla(Law):
    """L(N, D) = E + A / N^alpha + B / D^beta.

    Hoffmann et al. 2022 (arXiv:2203.15556), equation 2 and section 3.3.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
        >>> round(float(Chinchilla().loss(np, c, {"params": 7e10, "tokens": 1.4e12})), 3)
        1.937
    """

    name: ClassVar[str] = "chinchilla"
    title: ClassVar[str] = "a floor and two power laws, in params and in tokens"
    equation: ClassVar[str] = "L = E + A / N^alpha + B / D^beta"
    source: ClassVar[str] = "Hoffmann et al. 2022, arXiv:2203.15556, equation 2"
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="loss that no scale removes"),
        Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        Coefficient("alpha", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("beta", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 1000.0),
        "B": (100.0, 3000.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        one, by_params, by_tokens = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * by_params + c["B"] * by_tokens

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E, A and B; see `Law.basis`."""
        by_params = xp.exp(-c["alpha"] * xp.log(x["params"]))
        by_tokens = xp.exp(-c["beta"] * xp.log(x["tokens"]))
        return [1.0, by_params, by_tokens]

    def terms(self, x: Mapping[str, Array]) -> list[dict[str, Array]]:
        """The three terms as exponentials; see `Law.terms`."""
        return [
            {"E": 1.0},
            {"A": 1.0, "alpha": -np.log(x["params"])},
            {"B": 1.0, "beta": -np.log(x["tokens"])},
        ]

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The closed form of Hoffmann et al. 2022, equation 4; see `split_two_powers`."""
        return split_two_powers(
            c["alpha"], np.log(c["A"]), c["beta"], np.log(c["B"]), flops, compute
        )
