"""The joint form: a floor, and an outer exponent over the sum of a params and a tokens term."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from scalax.laws.base import Coefficient
from scalax.laws.power_law import PowerLaw, PowerSum, Term

_EXPONENTS = (0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4)


class Joint(PowerLaw):
    """L(N, D) = E + (A / N^alpha + B / D^beta)^gamma.

    The form contains Chinchilla's (gamma = 1) and Kaplan's (E = 0): it is Hoffmann et al. 2022,
    equation 2, with the outer exponent of Kaplan et al. 2020, equation 1.5.

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
    form: ClassVar[PowerSum] = PowerSum(
        [Term("A", {"params": "alpha"}), Term("B", {"tokens": "beta"})], floor="E", outer="gamma"
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "floor", 1e-9, 1e3, (0.02, 0.3, 0.55, 0.75, 0.9), "irreducible loss"),
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
