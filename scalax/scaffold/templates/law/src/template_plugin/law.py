"""The law `template-plugin`: one exponent for params and tokens. Change the form to yours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import scalax as sx


class TemplatePlugin(sx.PowerLaw):
    """L(N, D) = E + A / N^alpha + B / D^alpha.

    Replace the equation, its source, the form, the coefficients and their typical ranges. scalax
    derives the loss from the form, and the split of a budget where it has a closed form.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "template-plugin"
    title: ClassVar[str] = "a floor and one power of params and of tokens"
    equation: ClassVar[str] = "L = E + A / N^alpha + B / D^alpha"
    source: ClassVar[str] = "an example: name the paper and the equation"
    form: ClassVar[sx.PowerSum] = sx.PowerSum(
        [sx.Term("E"), sx.Term("A", {"params": "alpha"}), sx.Term("B", {"tokens": "alpha"})]
    )
    coefficients: ClassVar[tuple[sx.Coefficient, ...]] = (
        # Name, role, bounds; for exponents also the starting values of a fit; meaning.
        sx.Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        sx.Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        sx.Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        sx.Coefficient("alpha", "exponent", 1e-3, 3.0, (0.1, 0.2, 0.3, 0.5), "the exponent"),
    )
    # A plausible range of each coefficient, from which `scalax plugins check` draws.
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (1e2, 1e3),
        "B": (1e2, 1e4),
        "alpha": (0.2, 0.5),
    }
