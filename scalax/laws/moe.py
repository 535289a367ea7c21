"""Mixture of experts: a law in total parameters, the active share of them, and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.base import Array, Coefficient
from scalax.laws.power_law import PowerLaw, PowerSum, Term

_EXPONENTS = (0.15, 0.25, 0.35, 0.48, 0.7)


class MixtureOfExperts(PowerLaw):
    """L = e + a / N^alpha + b / D^beta + c r^-lam + d / (r^delta N^gamma), with r = N_active / N.

    Abnar et al. 2025 (arXiv:2501.12370), equation 6. Their 1 - S is the share of active experts;
    here r is the share of active parameters, which differs only by the parameters that all experts
    share. Compute is 6 N_active D. The columns are ``params`` (all parameters) and
    ``params_active``; a query may give ``sparsity`` instead of ``params_active``.

    Example:
        >>> import numpy as np
        >>> c = {"e": 1.0, "a": 100.0, "b": 100.0, "c": 0.5, "d": 0.0, "alpha": 0.5, "beta": 0.5,
        ...      "lam": -1.0, "delta": 0.1, "gamma": 0.1}
        >>> x = {"params": 1e8, "params_active": 1e7, "tokens": 1e10}
        >>> round(float(MixtureOfExperts().loss(np, c, x)), 3)
        1.061
    """

    name: ClassVar[str] = "moe"
    title: ClassVar[str] = "mixture of experts: total and active params, and tokens"
    equation: ClassVar[str] = (
        "L = e + a / N^alpha + b / D^beta + c r^-lam + d / (r^delta N^gamma), r = N_active / N"
    )
    source: ClassVar[str] = "Abnar et al. 2025, arXiv:2501.12370, equation 6"
    columns: ClassVar[tuple[str, ...]] = ("params", "params_active", "tokens")
    assumed: ClassVar[Mapping[str, Any]] = {
        "params_active": ("every parameter is taken to be active", lambda x: x["params"])
    }
    form: ClassVar[PowerSum] = PowerSum(
        [
            Term("e"),
            Term("a", {"params": "alpha"}),
            Term("b", {"tokens": "beta"}),
            Term("c", {"params_active/params": "lam"}),
            Term("d", {"params_active/params": "delta", "params": "gamma"}),
        ]
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("e", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("a", "linear", 1e-9, 1e15, meaning="size of the params term"),
        Coefficient("b", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        Coefficient("c", "linear", 1e-9, 1e6, meaning="size of the sparsity term"),
        Coefficient("d", "linear", 1e-9, 1e15, meaning="size of the shared term of r and params"),
        Coefficient("alpha", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("beta", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
        Coefficient("lam", "exponent", -3.0, 3.0, (-0.5, -0.25, -0.1, 0.15), "exponent of 1 / r"),
        Coefficient("delta", "exponent", -3.0, 3.0, (0.05, 0.2), "exponent of 1 / r, shared term"),
        Coefficient(
            "gamma", "exponent", 1e-3, 3.0, (0.1, 0.2, 0.4), "exponent of params, shared term"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "e": (1.0, 2.0),
        "a": (100.0, 1000.0),
        "b": (100.0, 3000.0),
        "c": (0.1, 0.5),
        "d": (0.1, 5.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
        "lam": (-0.6, -0.1),
        "delta": (0.05, 0.3),
        "gamma": (0.1, 0.3),
        "params_active": (1e6, 9e6),
    }
    falls_with: ClassVar[tuple[str, ...] | None] = ("tokens",)

    def complete(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Computes ``params_active`` from ``sparsity``, where given; see `Law.complete`."""
        columns = dict(x)
        if "sparsity" in columns:
            share = 1.0 - np.asarray(columns.pop("sparsity"), float)
            if not np.all((share > 0) & (share <= 1)):
                raise ScalaxError(
                    "expected at least 0 and below 1",
                    where="sparsity",
                    fix="give the inactive share of the parameters, such as 0.875",
                )
            columns["params_active"] = share * columns["params"]
        return super().complete(columns)

    def params_computed(self, x: Mapping[str, Array]) -> Array:
        """The active parameters; see `Law.params_computed`."""
        return x["params_active"]
