"""A sigmoid in log compute, for error rates and accuracies, which stay in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from scalax.laws.base import Array, Coefficient, Law


class Bounded(Law):
    """y(C) = E + (H - E) / (1 + (C / K)^alpha), from H at little compute to E at much.

    A logistic curve, as Owen 2024 (arXiv:2401.04757) fits to benchmarks, here in log compute. H and
    E are in [0, 1], and so is y. Far above K the curve is a power law with exponent alpha and floor
    E. An error rate falls (H above E) and an accuracy rises (E above H); the form fits both.

    Example:
        >>> import numpy as np
        >>> c = {"E": 0.1, "H": 0.75, "K": 1e21, "alpha": 0.5}
        >>> round(float(Bounded().loss(np, c, {"flops": 1e21})), 4)
        0.425
    """

    name: ClassVar[str] = "bounded"
    title: ClassVar[str] = "a sigmoid in log compute, for error rates and accuracy in [0, 1]"
    equation: ClassVar[str] = "y = E + (H - E) / (1 + (C / K)^alpha)"
    source: ClassVar[str] = "the logistic curve of Owen 2024, arXiv:2401.04757, in log compute"
    columns: ClassVar[tuple[str, ...]] = ("flops",)
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1.0, meaning="value at unlimited compute"),
        Coefficient("H", "linear", 1e-9, 1.0, meaning="value without training, by chance"),
        Coefficient(
            "K", "place", 1e-3, 1e45, tuple(0.125 * k for k in range(-4, 13)), "middle", "flops"
        ),
        Coefficient(
            "alpha", "exponent", 0.01, 6.0, (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0), "steepness"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (0.01, 0.3),
        "H": (0.5, 0.95),
        "K": (1e18, 1e22),
        "alpha": (0.1, 1.0),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The value, in [0, 1]; see `Law.loss`."""
        done, left = self.basis(xp, c, x)
        return c["E"] * done + c["H"] * left

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E and H, which sum to 1; see `Law.basis`."""
        past = c["alpha"] * (xp.log(x["flops"]) - xp.log(c["K"]))
        return [xp.exp(-xp.logaddexp(0.0, -past)), xp.exp(-xp.logaddexp(0.0, past))]
