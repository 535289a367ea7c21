"""A precision-aware form: training with fewer bits has the effect of fewer parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers

_EXPONENTS = (0.12, 0.2, 0.28, 0.36, 0.46, 0.58, 0.75, 1.0)
_PARTS = {"gamma_w": "bits_weights", "gamma_a": "bits_activations", "gamma_kv": "bits_cache"}
_BITS = (0.8, 2.0, 4.5)


class Precision(Law):
    """L = E + A / N'^alpha + B / D^beta, N' = N times (1 - exp(-P / gamma)) for each part.

    Kumar et al. 2024 (arXiv:2411.04330), equations 3 and 4: P is the number of bits of the weights,
    activations or key-value cache during training. Their appendix K adds an offset to each exponent
    when fitting; this form has none, as in their main text.

    Example:
        >>> import numpy as np
        >>> c = {"E": 2.0, "A": 100.0, "B": 100.0, "alpha": 0.5, "beta": 0.5, "gamma_w": 2.7,
        ...      "gamma_a": 2.2, "gamma_kv": 1.0}
        >>> bits = {"bits_weights": np.array([16, 4]), "bits_activations": 16, "bits_cache": 16}
        >>> [round(float(v), 4) for v in Precision().loss(np, c, {"params": 1e8, "tokens": 1e9,
        ...                                                      **bits})]
        [2.0132, 2.0145]
    """

    name: ClassVar[str] = "precision"
    title: ClassVar[str] = "Chinchilla with params that count for less at low precision"
    equation: ClassVar[str] = (
        "L = E + A / N'^alpha + B / D^beta, "
        "N' = N (1 - exp(-P_w / gamma_w)) (1 - exp(-P_a / gamma_a)) (1 - exp(-P_kv / gamma_kv))"
    )
    source: ClassVar[str] = "Kumar et al. 2024, arXiv:2411.04330, equations 3 and 4"
    columns: ClassVar[tuple[str, ...]] = ("params", "tokens", *_PARTS.values())
    assumed: ClassVar[Mapping[str, Any]] = {
        column: (f"{column} assumed to be 16", lambda x: 16.0 * np.ones_like(x["params"]))
        for column in _PARTS.values()
    }
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        Coefficient("alpha", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("beta", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
        Coefficient("gamma_w", "scale", 0.05, 100.0, _BITS, "bits that weights need"),
        Coefficient("gamma_a", "scale", 0.05, 100.0, _BITS, "bits that activations need"),
        Coefficient("gamma_kv", "scale", 0.05, 100.0, _BITS, "bits that the cache needs"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 1000.0),
        "B": (100.0, 3000.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
        "gamma_w": (1.0, 4.0),
        "gamma_a": (1.0, 4.0),
        "gamma_kv": (0.5, 3.0),
        "bits_weights": (3.0, 16.0),
        "bits_activations": (3.0, 16.0),
        "bits_cache": (3.0, 16.0),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        one, by_params, by_tokens = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * by_params + c["B"] * by_tokens

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E, A and B; see `Law.basis`."""
        log_params = xp.log(x["params"]) + _log_effective_share(xp, c, x)
        by_tokens = xp.exp(-c["beta"] * xp.log(x["tokens"]))
        return [1.0, xp.exp(-c["alpha"] * log_params), by_tokens]

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Chinchilla's closed form with the effective share of params in A (appendix E.2).

        ``given`` contains the bits. FLOPs count operations, whatever their precision.
        """
        x = self.complete({**(given or {}), "params": np.ones(()), "tokens": np.ones(())})
        log_a = np.log(c["A"]) - c["alpha"] * _log_effective_share(np, c, x)
        return split_two_powers(c["alpha"], log_a, c["beta"], np.log(c["B"]), flops, compute)


def _log_effective_share(xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
    """Returns log(N' / N)."""
    return sum(
        (xp.log(-xp.expm1(-x[column] / c[gamma])) for gamma, column in _PARTS.items()), start=0.0
    )
