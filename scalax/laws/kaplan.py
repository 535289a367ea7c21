"""Kaplan's form: params and tokens coupled, with no floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers

_EXPONENTS = (0.02, 0.035, 0.05, 0.065, 0.08, 0.1, 0.125, 0.16, 0.2, 0.25, 0.32, 0.4, 0.55, 0.8)


class Kaplan(Law):
    """L(N, D) = ((Nc / N)^(alpha_N / alpha_D) + Dc / D)^alpha_D.

    Kaplan et al. 2020 (arXiv:2001.08361), equation 1.5. Their N leaves out embeddings. Both
    power laws run to zero: with data or size unlimited the other alone is a pure power law.

    Example:
        >>> import numpy as np
        >>> c = {"Nc": 6.4e13, "Dc": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}
        >>> round(float(Kaplan().loss(np, c, {"params": 1e9, "tokens": 2.2e10})), 2)
        2.37
    """

    name: ClassVar[str] = "kaplan"
    title: ClassVar[str] = "two coupled power laws, in params and in tokens, without a floor"
    equation: ClassVar[str] = "L = ((Nc / N)^(alpha_N / alpha_D) + Dc / D)^alpha_D"
    source: ClassVar[str] = "Kaplan et al. 2020, arXiv:2001.08361, equation 1.5"
    params_expected: ClassVar[str] = "without embeddings"
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("Nc", "linear", 1e-30, 1e90, meaning="params where their law alone gives 1"),
        Coefficient("Dc", "linear", 1e-30, 1e90, meaning="tokens where their law alone gives 1"),
        Coefficient("alpha_N", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("alpha_D", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "Nc": (1e12, 1e15),
        "Dc": (1e12, 1e15),
        "alpha_N": (0.05, 0.15),
        "alpha_D": (0.05, 0.15),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        ratio = c["alpha_N"] / c["alpha_D"]
        by_params = ratio * (xp.log(c["Nc"]) - xp.log(x["params"]))
        by_tokens = xp.log(c["Dc"]) - xp.log(x["tokens"])
        return xp.exp(c["alpha_D"] * xp.logaddexp(by_params, by_tokens))

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of Nc^(alpha_N / alpha_D) and of Dc in L^(1 / alpha_D); see `Law.basis`."""
        ratio = c["alpha_N"] / c["alpha_D"]
        return [xp.exp(-ratio * xp.log(x["params"])), 1.0 / x["tokens"]]

    def target(
        self,
        xp: Any,
        c: Mapping[str, Array],
        x: Mapping[str, Array],
        loss: Array,
    ) -> Array:
        """L^(1 / alpha_D); see `Law.target`."""
        return xp.exp(xp.log(loss) / c["alpha_D"])

    def untangle(self, c: Mapping[str, Array], amounts: Mapping[str, Array]) -> dict[str, Array]:
        """Nc from the Nc^(alpha_N / alpha_D) that stands in the sum; see `Law.untangle`."""
        root = c["alpha_D"] / c["alpha_N"]
        return {"Nc": np.exp(root * np.log(amounts["Nc"])), "Dc": amounts["Dc"]}

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """The outer exponent moves no minimum: the closed form for two powers."""
        ratio = c["alpha_N"] / c["alpha_D"]
        return split_two_powers(
            ratio, ratio * np.log(c["Nc"]), 1.0, np.log(c["Dc"]), flops, compute
        )
