"""The joint form: a floor, and one exponent over the sum of a params and a tokens term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers

_EXPONENTS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4)


class Joint(Law):
    """L(N, D) = E + (A / N^alpha + B / D^beta)^gamma.

    Between Chinchilla (gamma = 1), whose two terms add, and Rosenfeld et al. and Kaplan, who
    couple them by an outer exponent. With E = 0 it is Kaplan et al.'s equation 1.5; with the
    floor it is Chinchilla's equation 2 with that coupling.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28, "gamma": 1.0}
        >>> round(float(Joint().loss(np, c, {"params": 7e10, "tokens": 1.4e12})), 3)
        1.937
    """

    name: ClassVar[str] = "joint"
    title: ClassVar[str] = "a floor, and one exponent over the sum of a params and a tokens term"
    equation: ClassVar[str] = "L = E + (A / N^alpha + B / D^beta)^gamma"
    source: ClassVar[str] = (
        "the floor of Hoffmann et al. 2022, arXiv:2203.15556, equation 2, with the outer exponent "
        "of Kaplan et al. 2020, arXiv:2001.08361, equation 1.5"
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "floor", 1e-9, 1e3, (0.02, 0.3, 0.55, 0.75, 0.9), "loss of no scale"),
        Coefficient("A", "linear", 1e-12, 1e30, meaning="size of the params term"),
        Coefficient("B", "linear", 1e-12, 1e30, meaning="size of the tokens term"),
        Coefficient("alpha", "exponent", 1e-3, 6.0, _EXPONENTS, "exponent of params inside"),
        Coefficient("beta", "exponent", 1e-3, 6.0, _EXPONENTS, "exponent of tokens inside"),
        Coefficient("gamma", "exponent", 2e-2, 6.0, (0.2, 0.4, 0.7, 1.0, 1.5), "outer exponent"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 10000.0),
        "B": (100.0, 10000.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
        "gamma": (0.4, 1.5),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        by_params = xp.log(c["A"]) - c["alpha"] * xp.log(x["params"])
        by_tokens = xp.log(c["B"]) - c["beta"] * xp.log(x["tokens"])
        return c["E"] + xp.exp(c["gamma"] * xp.logaddexp(by_params, by_tokens))

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of A and B in (L - E)^(1 / gamma); see `Law.basis`."""
        by_params = xp.exp(-c["alpha"] * xp.log(x["params"]))
        by_tokens = xp.exp(-c["beta"] * xp.log(x["tokens"]))
        return [by_params, by_tokens]

    def target(
        self,
        xp: Any,
        c: Mapping[str, Array],
        x: Mapping[str, Array],
        loss: Array,
    ) -> Array:
        """(L - E)^(1 / gamma), NaN where the loss lies below E; see `Law.target`."""
        above = loss - c["E"]
        safe = xp.where(above > 0, above, 1.0)
        return xp.where(above > 0, xp.exp(xp.log(safe) / c["gamma"]), xp.nan)

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The outer exponent and the floor move no minimum: Chinchilla's closed form."""
        return split_two_powers(
            c["alpha"], np.log(c["A"]), c["beta"], np.log(c["B"]), flops, compute
        )
