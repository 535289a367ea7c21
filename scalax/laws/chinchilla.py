"""The Chinchilla form: a floor and two power laws, one in params and one in tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from scalax.laws.base import Coefficient
from scalax.laws.power_law import PowerLaw, PowerSum, Term

_EXPONENTS = tuple(0.05 * k for k in range(1, 31))


class Chinchilla(PowerLaw):
    """L(N, D) = E + A / N^alpha + B / D^beta.

    Hoffmann et al. 2022 (arXiv:2203.15556), equation 2 and section 3.3; the optimal split is their
    equation 4.

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
    form: ClassVar[PowerSum] = PowerSum(
        [Term("E"), Term("A", {"params": "alpha"}), Term("B", {"tokens": "beta"})]
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
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
