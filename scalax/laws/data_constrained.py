"""Muennighoff's form: repeated tokens and excess parameters count for less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from scalax.laws.base import Array, Coefficient, Law

_EXPONENTS = (0.1, 0.18, 0.25, 0.32, 0.4, 0.5, 0.65, 0.9, 1.2)
_REPEATS = (1.5, 5.0, 15.0, 60.0)


class DataConstrained(Law):
    """L = E + A / N'^alpha + B / D'^beta, with N' and D' the effective params and tokens.

    Muennighoff et al. 2023 (arXiv:2305.16264), section 3.1. U = min(unique, D) of the D tokens are
    new and each is seen 1 + R times: D' = U + U R_D (1 - exp(-R / R_D)). N' is computed in the same
    way from the params that are optimal for U tokens, U_N = (U G)^(beta / alpha) G with
    G = (alpha A / (beta B))^(1 / (alpha + beta)). The column ``unique_tokens`` is the size of the
    data set; if it is at least ``tokens``, nothing is repeated.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.35, "beta": 0.35, "R_D": 15.4,
        ...      "R_N": 5.3}
        >>> x = {"params": 1e9, "tokens": 4e10, "unique_tokens": np.array([4e10, 1e10])}
        >>> [round(float(v), 3) for v in DataConstrained().loss(np, c, x)]
        [2.528, 2.542]
    """

    name: ClassVar[str] = "data-constrained"
    title: ClassVar[str] = "Chinchilla with repeated tokens and excess params worth less"
    equation: ClassVar[str] = (
        "L = E + A / N'^alpha + B / D'^beta, D' = U + U R_D (1 - exp(-(D / U - 1) / R_D)), N' alike"
    )
    source: ClassVar[str] = "Muennighoff et al. 2023, arXiv:2305.16264, section 3.1, equation 6"
    columns: ClassVar[tuple[str, ...]] = ("params", "tokens", "unique_tokens")
    assumed: ClassVar[Mapping[str, Any]] = {
        "unique_tokens": ("every token is taken to be new", lambda x: x["tokens"])
    }
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        Coefficient("alpha", "exponent", 1e-2, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("beta", "exponent", 1e-2, 3.0, _EXPONENTS, "exponent of tokens"),
        Coefficient("R_D", "scale", 1e-2, 1e6, _REPEATS, "repeats after which data is worth 1 / e"),
        Coefficient("R_N", "scale", 1e-2, 1e6, _REPEATS, "the same for excess params"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 1000.0),
        "B": (100.0, 3000.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
        "R_D": (2.0, 40.0),
        "R_N": (2.0, 20.0),
        "unique_tokens": (1e9, 1e12),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        alpha, beta = c["alpha"], c["beta"]
        log_a, log_b = xp.log(c["A"]), xp.log(c["B"])
        log_unique, log_tokens = self._log_tokens(xp, c, x)
        log_g = (xp.log(alpha) + log_a - xp.log(beta) - log_b) / (alpha + beta)
        optimal = (log_unique + log_g) * beta / alpha + log_g
        log_params = _effective(xp, optimal, xp.log(x["params"]), c["R_N"])
        return c["E"] + xp.exp(log_a - alpha * log_params) + xp.exp(log_b - beta * log_tokens)

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E, A and B without excess params, whose effect depends on A and B."""
        _, log_tokens = self._log_tokens(xp, c, x)
        return [1.0, xp.exp(-c["alpha"] * xp.log(x["params"])), xp.exp(-c["beta"] * log_tokens)]

    def _log_tokens(
        self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]
    ) -> tuple[Array, Array]:
        """Returns the logarithms of the new tokens and of the effective tokens."""
        log_unique = xp.minimum(xp.log(x["unique_tokens"]), xp.log(x["tokens"]))
        return log_unique, _effective(xp, log_unique, xp.log(x["tokens"]), c["R_D"])


def _effective(xp: Any, log_base: Array, log_total: Array, repeats: Array) -> Array:
    """Returns log(U + U R (1 - exp(-(T / U - 1) / R))) for U = min(base, total)."""
    log_base = xp.minimum(log_base, log_total)
    # Beyond e^50 repeats nothing changes; the bound keeps gradients finite.
    extra = xp.expm1(xp.minimum(log_total - log_base, 50.0))
    return log_base + xp.log1p(-repeats * xp.expm1(-extra / repeats))
