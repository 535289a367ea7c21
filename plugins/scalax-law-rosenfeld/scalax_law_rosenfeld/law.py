"""The law `rosenfeld`: an error rate that falls from chance to a floor.

It is Chinchilla's sum of power terms inside a function that bounds the loss by the error of chance,
which small models and small data sets do not beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx

_EXPONENTS = (0.15, 0.3, 0.45, 0.65, 0.9, 1.2, 1.6, 2.2)


class Rosenfeld(sx.PowerLaw):
    """L(N, D) = L0 z / sqrt(1 + z^2), z = c + A / N^alpha + B / D^beta.

    Rosenfeld et al. 2020 (arXiv:1909.12673), equations 4 and 5: L0 abs(e / (e - i eta)) with
    e = c_inf + b / N^alpha + 1 / D^beta. Only the ratio z = e / eta matters, so A is their b / eta,
    B their 1 / eta and c their c_inf / eta. L0 is the error of chance, or the loss of a guess. Far
    below L0 the law is L0 times c + A / N^alpha + B / D^beta. The paper's D is the size of a data
    set, on which a model is trained to convergence; here D is the number of examples seen.

    Example:
        >>> import numpy as np
        >>> c = {"L0": 0.9, "c": 0.1, "A": 0.0, "B": 10.0, "alpha": 0.5, "beta": 0.5}
        >>> x = {"params": 1e4, "tokens": np.array([1e-9, 1e2, 1e12])}
        >>> [round(float(v), 3) for v in Rosenfeld().loss(np, c, x)]
        [0.9, 0.666, 0.09]
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "rosenfeld"
    title: ClassVar[str] = "an error rate from chance to a floor, in params and tokens"
    equation: ClassVar[str] = "L = L0 z / sqrt(1 + z^2), z = c + A / N^alpha + B / D^beta"
    source: ClassVar[str] = "Rosenfeld et al. 2020, arXiv:1909.12673, equations 4 and 5"
    form: ClassVar[sx.PowerSum] = sx.PowerSum(  # z in the equation
        [sx.Term("c"), sx.Term("A", {"params": "alpha"}), sx.Term("B", {"tokens": "beta"})]
    )
    coefficients: ClassVar[tuple[sx.Coefficient, ...]] = (
        sx.Coefficient("L0", "ceiling", 1e-6, 1e3, (1.0001, 1.1, 1.5, 3.0), "loss of a guess"),
        sx.Coefficient("c", "linear", 1e-9, 1e3, meaning="irreducible loss, divided by L0"),
        sx.Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        sx.Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        sx.Coefficient("alpha", "exponent", 1e-3, 4.0, _EXPONENTS, "exponent of params"),
        sx.Coefficient("beta", "exponent", 1e-3, 4.0, _EXPONENTS, "exponent of tokens"),
    )
    # Around the paper's fits of CIFAR-10: alpha 0.53, beta 0.66, L0 0.9.
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "L0": (0.8, 0.99),
        "c": (0.02, 0.2),
        "A": (5.0, 50.0),
        "B": (20.0, 300.0),
        "alpha": (0.4, 0.7),
        "beta": (0.5, 0.9),
        "params": (1e3, 1e6),
        "tokens": (1e2, 1e6),
    }

    def loss(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        """Returns the loss; see `sx.Law.loss`.

        It increases with z, so `sx.PowerLaw` gives the optimal split.
        """
        z = super().loss(xp, c, x)
        return c["L0"] * z / xp.sqrt(1 + z * z)

    def target(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any], loss: Any) -> Any:
        """Returns z for a loss, or NaN where the loss is not below L0; see `sx.Law.target`."""
        del x
        ratio = loss / c["L0"]
        safe = xp.where(ratio < 1, ratio, 0.0)
        return xp.where(ratio < 1, safe / xp.sqrt(1 - safe * safe), xp.nan)
