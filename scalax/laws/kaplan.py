"""Kaplan's form: params and tokens coupled by an outer exponent, without a floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from scalax.laws.base import Coefficient
from scalax.laws.power_law import Exponent, PowerLaw, PowerSum, Term

_EXPONENTS = (0.02, 0.035, 0.05, 0.065, 0.08, 0.1, 0.125, 0.16, 0.2, 0.25, 0.32, 0.4, 0.55, 0.8)
_RATIO = Exponent(1.0, {"alpha_N": 1, "alpha_D": -1})


class Kaplan(PowerLaw):
    """L(N, D) = ((Nc / N)^(alpha_N / alpha_D) + Dc / D)^alpha_D.

    Kaplan et al. 2020 (arXiv:2001.08361), equation 1.5. Their N excludes embeddings. Without a
    floor, the loss with unlimited data is a pure power law in N, and with unlimited N one in D.

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
    form: ClassVar[PowerSum] = PowerSum(
        [Term("Nc", {"params": _RATIO}, amount_power=_RATIO), Term("Dc", {"tokens": 1.0})],
        outer="alpha_D",
    )
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("Nc", "linear", 1e-30, 1e90, meaning="params at which their term alone is 1"),
        Coefficient("Dc", "linear", 1e-30, 1e90, meaning="tokens at which their term alone is 1"),
        Coefficient("alpha_N", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of params"),
        Coefficient("alpha_D", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "Nc": (1e12, 1e15),
        "Dc": (1e12, 1e15),
        "alpha_N": (0.05, 0.15),
        "alpha_D": (0.05, 0.15),
    }
