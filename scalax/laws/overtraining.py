"""Gadre's form: a law in compute and tokens per parameter, for overtrained models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from scalax.laws.base import Coefficient
from scalax.laws.power_law import Exponent, PowerLaw, PowerSum, Term

_TWICE = Exponent(2.0, {"eta": 1})


class Overtraining(PowerLaw):
    """L(C, M) = E + (a M^eta + b M^-eta) C^-eta, with C = 6ND and M = D / N.

    Gadre et al. 2024 (arXiv:2403.08540), equation 4: Chinchilla with equal exponents 2 eta, so
    the loss at any fixed M is a power law in compute with the same exponent. M / C is 1 / (6 N^2)
    and 1 / (M C) is 1 / (6 D^2): C is always 6ND here, even where the runs count otherwise. Under
    6ND the optimal ratio is M* = (b / a)^(1 / 2 eta).

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.51, "a": 141.0, "b": 190.0, "eta": 0.121}
        >>> round(float(Overtraining().loss(np, c, {"params": 1.4e9, "tokens": 2.8e10})), 2)
        2.66
    """

    name: ClassVar[str] = "overtraining"
    title: ClassVar[str] = "compute and tokens per parameter, one exponent at every ratio"
    equation: ClassVar[str] = "L = E + (a M^eta + b M^-eta) C^-eta, C = 6ND, M = D / N"
    source: ClassVar[str] = "Gadre et al. 2024, arXiv:2403.08540, equation 4"
    form: ClassVar[PowerSum] = PowerSum(
        [
            Term("E"),
            Term("a", {6.0: "eta", "params": _TWICE}),
            Term("b", {6.0: "eta", "tokens": _TWICE}),
        ]
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("a", "linear", 1e-9, 1e20, meaning="cost of too few params"),
        Coefficient("b", "linear", 1e-9, 1e20, meaning="cost of too few tokens"),
        Coefficient(
            "eta", "exponent", 1e-3, 1.5, tuple(0.02 * k for k in range(1, 41)), "exponent of C"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "a": (50.0, 400.0),
        "b": (50.0, 400.0),
        "eta": (0.09, 0.2),
    }
