"""A power law whose exponent changes smoothly at one point, for curves with a knee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from scalax.laws.base import Array, Coefficient, Law


class BrokenPower(Law):
    """L(C) = E + A (C / K)^-alpha (1 + (C / K)^(1 / width))^(-turn width).

    Caballero et al. 2022 (arXiv:2210.14891), equation 1, with one break. The exponent
    is alpha far below K and alpha + turn far above it. A smaller width makes the knee sharper; a
    negative turn makes the curve shallower. A is the size of the power law at K. The data
    determines it better than the paper's b, the size at C = 1: b = A K^alpha.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.0, "A": 2.0, "K": 1e18, "alpha": 0.1, "turn": 0.1, "width": 0.5}
        >>> round(float(BrokenPower().loss(np, c, {"flops": 1e18})), 4)
        2.9319
    """

    name: ClassVar[str] = "broken-power"
    title: ClassVar[str] = "a floor and a power law in compute whose exponent turns at a knee"
    equation: ClassVar[str] = "L = E + A (C / K)^-alpha (1 + (C / K)^(1 / width))^(-turn width)"
    source: ClassVar[str] = "Caballero et al. 2022, arXiv:2210.14891, equation 1, one break"
    columns: ClassVar[tuple[str, ...]] = ("flops",)
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("A", "linear", 1e-9, 1e6, meaning="size of the power law at the knee"),
        Coefficient(
            "K", "place", 1e-3, 1e40, (0.15, 0.3, 0.5, 0.7, 0.85), "where the knee is", "flops"
        ),
        Coefficient("alpha", "exponent", 0.0, 3.0, (0.02, 0.06, 0.15, 0.35, 0.8), "first slope"),
        Coefficient(
            "turn", "exponent", -3.0, 3.0, (-0.5, -0.15, -0.05, 0.05, 0.15, 0.5), "change of slope"
        ),
        Coefficient("width", "exponent", 0.02, 5.0, (0.1, 0.4, 1.5), "width of the knee"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (0.3, 3.0),
        "K": (1e18, 1e21),
        "alpha": (0.05, 0.3),
        "turn": (0.05, 0.3),
        "width": (0.1, 1.5),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        one, falling = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * falling

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of E and A; see `Law.basis`."""
        past = xp.log(x["flops"]) - xp.log(c["K"])
        bend = c["width"] * xp.logaddexp(0.0, past / c["width"])
        return [1.0, xp.exp(-c["alpha"] * past - c["turn"] * bend)]
