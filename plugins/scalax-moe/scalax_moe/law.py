"""The law `moe-effective`: Chinchilla's form with an effective parameter count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

import scalax as sx

_EXPONENTS = tuple(0.1 * k for k in range(1, 16))


class EffectiveParams(sx.PowerLaw):
    """L = E + A / (N_active (N / N_active)^s)^alpha + B / D^beta.

    The effective count is the active params times the ratio of total to active params, raised to
    the power s. With s = 0 idle experts are worth nothing; with s = 1 they are worth as much as
    active ones. Clark et al. 2022 (arXiv:2202.01169) find that routed models follow one curve of an
    effective count; a power of the ratio is the simplest such count. Where all params are active,
    this is Chinchilla's law.

    Compute is 6 N_active D. The optimal split is found by a search. The columns are ``params``
    (total), ``params_active`` and ``tokens``. A query may give ``sparsity`` = 1 - N_active / N in
    place of ``params_active``.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.0, "A": 100.0, "B": 100.0, "alpha": 0.5, "beta": 0.5, "s": 0.5}
        >>> x = {"params": 4e6, "params_active": 1e6, "tokens": 1e8}
        >>> round(float(EffectiveParams().loss(np, c, x)), 4)
        1.0807
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "moe-effective"
    title: ClassVar[str] = "mixture of experts: an effective size between active and total params"
    equation: ClassVar[str] = "L = E + A / (N_active (N / N_active)^s)^alpha + B / D^beta"
    source: ClassVar[str] = (
        "after the effective parameter count of Clark et al. 2022, arXiv:2202.01169"
    )
    columns: ClassVar[tuple[str, ...]] = ("params", "params_active", "tokens")
    form: ClassVar[sx.PowerSum] = sx.PowerSum(
        [
            sx.Term("E"),
            sx.Term(
                "A",
                {
                    "params_active": "alpha",
                    "params/params_active": sx.Exponent(1.0, {"alpha": 1, "s": 1}),
                },
            ),
            sx.Term("B", {"tokens": "beta"}),
        ]
    )
    assumed: ClassVar[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = {
        "params_active": ("every parameter is taken to be active", lambda x: x["params"])
    }
    coefficients: ClassVar[tuple[sx.Coefficient, ...]] = (
        sx.Coefficient("E", "linear", 1e-9, 1e3, meaning="irreducible loss"),
        sx.Coefficient("A", "linear", 1e-9, 1e15, meaning="size of the params term"),
        sx.Coefficient("B", "linear", 1e-9, 1e15, meaning="size of the tokens term"),
        sx.Coefficient("alpha", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of effective params"),
        sx.Coefficient("beta", "exponent", 1e-3, 3.0, _EXPONENTS, "exponent of tokens"),
        sx.Coefficient(
            "s", "exponent", -1.0, 2.0, (0.0, 0.2, 0.4, 0.6, 0.8), "value of idle parameters"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (1.0, 2.0),
        "A": (100.0, 1000.0),
        "B": (100.0, 3000.0),
        "alpha": (0.25, 0.5),
        "beta": (0.25, 0.5),
        "s": (0.1, 0.7),
        "params_active": (1e6, 9e6),
    }

    def complete(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Computes ``params_active`` from ``sparsity`` if that is given; see `Law.complete`."""
        columns = dict(x)
        if "sparsity" in columns:
            active = 1.0 - np.asarray(columns.pop("sparsity"), float)
            if not np.all((active > 0) & (active <= 1)):
                raise sx.ScalaxError(
                    "expected a number from 0 to below 1", where="sparsity", fix="write 0.875, say"
                )
            columns["params_active"] = active * columns["params"]
        return super().complete(columns)

    def params_computed(self, x: Mapping[str, Any]) -> Any:
        """Returns the active parameters; see `Law.params_computed`."""
        return x["params_active"]
