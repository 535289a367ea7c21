"""The M4 form: a power law that saturates at the loss of chance and at a floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, Law

_STEPS = 8


class M4(Law):
    """(L - E) / (E0 - L)^alpha = (E0 - E)^(1 - alpha) (K / C)^gamma: from E0 down to E.

    Alabdulmohsin et al. 2022 (arXiv:2209.06640), estimator M4. Their beta is
    (E0 - E)^(1 - alpha) K^gamma here. K is the compute at which the curve turns; estimates of K
    depend little on alpha and E0, which the data often determines poorly. As alpha approaches 0,
    the form becomes a power law with a floor.

    The law solves the equation for L. With L = E + (E0 - E) sigmoid(s) it becomes
    alpha softplus(s) - softplus(-s) = gamma log(K / C). The left side increases in s with slopes
    between 1 and alpha and curvature of one sign, so Newton's method converges from any start.

    Example:
        >>> import numpy as np
        >>> c = {"E": 1.0, "E0": 9.0, "K": 1e15, "alpha": 1.0, "gamma": 0.1}
        >>> round(float(M4().loss(np, c, {"flops": 1e15})), 6)
        5.0
    """

    name: ClassVar[str] = "m4"
    title: ClassVar[str] = "a power law in compute between the loss of chance and a floor"
    equation: ClassVar[str] = "(L - E) / (E0 - L)^alpha = (E0 - E)^(1 - alpha) (K / C)^gamma"
    source: ClassVar[str] = "Alabdulmohsin et al. 2022, arXiv:2209.06640, estimator M4"
    columns: ClassVar[tuple[str, ...]] = ("flops",)
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient(
            "E", "floor", 1e-9, 1e3, (0.02, 0.35, 0.6, 0.8, 0.92, 0.985), "irreducible loss"
        ),
        Coefficient(
            "E0", "ceiling", 1e-9, 1e4, (1.03, 1.15, 1.5, 2.5, 5.0, 9.0), "loss before any training"
        ),
        Coefficient("K", "linear", 1e-100, 1e100, meaning="compute at which the curve turns"),
        Coefficient(
            "alpha", "exponent", 0.01, 5.0, (0.05, 0.12, 0.3, 0.7, 1.3, 2.2), "strength of E0"
        ),
        Coefficient(
            "gamma", "exponent", 1e-3, 3.0, (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0), "its exponent"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "E": (0.5, 1.5),
        "E0": (6.0, 11.0),
        "K": (1e15, 1e20),
        "alpha": (0.05, 2.0),
        "gamma": (0.1, 0.3),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; NaN where E0 does not exceed E. See `Law.loss`."""
        between = c["E0"] - c["E"]
        between = xp.where(between > 0, between, xp.nan)
        level = c["gamma"] * (xp.log(c["K"]) - xp.log(x["flops"]))
        # The tangents at both ends, s and alpha s, give a close start.
        s = xp.where(level < 0, level, level / xp.maximum(c["alpha"], 0.2))
        for _ in range(_STEPS):
            s = s - _newton(xp, c["alpha"], s, level)
        # floor has derivative 0, so only the two steps below are differentiated. That is enough for
        # a Hessian: one step from the root has exact first derivatives, two have exact second ones.
        s = xp.floor(s * 2.0**32) / 2.0**32
        for _ in range(2):
            s = s - _newton(xp, c["alpha"], s, level)
        return c["E"] + between / (1 + xp.exp(-s))

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factor of K^gamma; see `Law.basis`."""
        return [xp.exp(-c["gamma"] * xp.log(x["flops"]))]

    def target(
        self,
        xp: Any,
        c: Mapping[str, Array],
        x: Mapping[str, Array],
        loss: Array,
    ) -> Array:
        """(K / C)^gamma, NaN where the loss is not between E and E0; see `Law.target`."""
        above, below = loss - c["E"], c["E0"] - loss
        valid = (above > 0) & (below > 0)
        log_above, log_below, log_between = (
            xp.log(xp.where(valid, part, 1.0)) for part in (above, below, c["E0"] - c["E"])
        )
        ratio = log_above - c["alpha"] * log_below - (1 - c["alpha"]) * log_between
        return xp.where(valid, xp.exp(ratio), xp.nan)

    def untangle(self, c: Mapping[str, Array], amounts: Mapping[str, Array]) -> dict[str, Array]:
        """K from K^gamma, its amount in the sum; see `Law.untangle`."""
        return {"K": np.exp(np.log(amounts["K"]) / c["gamma"])}


def _newton(xp: Any, alpha: Array, s: Array, level: Array) -> Array:
    """Returns the Newton step towards alpha softplus(s) - softplus(-s) = level."""
    share = 1 / (1 + xp.exp(-s))
    value = alpha * xp.logaddexp(0.0, s) - xp.logaddexp(0.0, -s)
    return (value - level) / (1 - share + alpha * share)
