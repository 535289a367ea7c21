"""Power laws with a floor in one variable: params, tokens or compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from scalax.laws.base import Coefficient
from scalax.laws.power_law import PowerLaw, PowerSum, Term

_EXPONENTS = tuple(0.05 * k for k in range(1, 31))


class PowerParams(PowerLaw):
    """L(N) = E + A / N^alpha, for runs with enough data.

    Hestness et al. 2017 (arXiv:1712.00409), with the floor of Henighan et al. 2020
    (arXiv:2010.14701), equation 1.1.

    Example:
        >>> import numpy as np
        >>> c = {"E": 2.0, "A": 100.0, "alpha": 0.5}
        >>> round(float(PowerParams().loss(np, c, {"params": 1e4})), 9)
        3.0
    """

    name: ClassVar[str] = "power-params"
    title: ClassVar[str] = "a floor and a power law in params"
    equation: ClassVar[str] = "L = E + A / N^alpha"
    source: ClassVar[str] = (
        "Hestness et al. 2017, arXiv:1712.00409; with the floor of Henighan et al. "
        "2020, arXiv:2010.14701, equation 1.1"
    )
    columns: ClassVar[tuple[str, ...]] = ("params",)
    form: ClassVar[PowerSum] = PowerSum([Term("E"), Term("A", {"params": "alpha"})])
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        Coefficient("A", "linear", 1e-9, 1e30, meaning="size of the power law"),
        Coefficient("alpha", "exponent", 1e-3, 3.0, _EXPONENTS, "its exponent"),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 1000.0),
        "alpha": (0.25, 0.5),
    }


class PowerTokens(PowerParams):
    """L(D) = E + A / D^alpha, for models that are large enough; see `PowerParams`."""

    name: ClassVar[str] = "power-tokens"
    title: ClassVar[str] = "a floor and a power law in tokens"
    equation: ClassVar[str] = "L = E + A / D^alpha"
    columns: ClassVar[tuple[str, ...]] = ("tokens",)
    form: ClassVar[PowerSum] = PowerSum([Term("E"), Term("A", {"tokens": "alpha"})])


class PowerFlops(PowerParams):
    """L(C) = E + A / C^alpha along the compute-optimal frontier; see `PowerParams`."""

    name: ClassVar[str] = "power-flops"
    title: ClassVar[str] = "a floor and a power law in training compute"
    equation: ClassVar[str] = "L = E + A / C^alpha"
    columns: ClassVar[tuple[str, ...]] = ("flops",)
    form: ClassVar[PowerSum] = PowerSum([Term("E"), Term("A", {"flops": "alpha"})])
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (1e2, 1e4),
        "alpha": (0.1, 0.3),
    }
