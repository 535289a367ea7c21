"""The second step of a downstream forecast: error or accuracy as a function of loss.

Both laws read the column ``loss`` and are fitted like any other law, with ``--metric`` naming the
column of the benchmark. `scalax.predict.two_step` combines them with a law of the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from scalax.laws.base import Array, Coefficient, Law


class LossToError(Law):
    """Err(L) = epsilon - k exp(-gamma L): a top-1 error that falls exponentially with loss.

    Gadre et al. 2024 (arXiv:2403.08540), equation 5: epsilon is the error of a random guess.

    Example:
        >>> import numpy as np
        >>> c = {"epsilon": 0.850, "k": 2.08, "gamma": 0.756}
        >>> round(float(LossToError().loss(np, c, {"loss": 3.0})), 3)
        0.635
    """

    name: ClassVar[str] = "loss-to-error"
    title: ClassVar[str] = "second step: a benchmark's error, from chance down, by the loss"
    equation: ClassVar[str] = "Err = epsilon - k exp(-gamma L)"
    source: ClassVar[str] = "Gadre et al. 2024, arXiv:2403.08540, equation 5"
    columns: ClassVar[tuple[str, ...]] = ("loss",)
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("epsilon", "linear", 1e-9, 1.0, meaning="error of a random guess"),
        Coefficient("k", "linear", 1e-9, 1e6, meaning="size of the exponential"),
        Coefficient(
            "gamma", "exponent", 1e-3, 20.0, tuple(0.1 * 1.2**k for k in range(28)), "rate"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "epsilon": (0.7, 0.95),
        "k": (0.8, 1.5),
        "gamma": (0.7, 1.5),
        "loss": (1.8, 4.0),
    }
    falls_with: ClassVar[tuple[str, ...] | None] = ()

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The error; see `Law.loss`."""
        chance, removed = self.basis(xp, c, x)
        return c["epsilon"] * chance + c["k"] * removed

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of epsilon and k; see `Law.basis`."""
        return [1.0, -xp.exp(-c["gamma"] * x["loss"])]


class LossToAccuracy(Law):
    """Acc(L) = chance + (top - chance) / (1 + exp(k (L - L0))): a sigmoid in the loss.

    The second step of the forecasts of Llama 3 (arXiv:2407.21783, section 3.2.1). The paper only
    says that it is sigmoidal. Since chance and top are in [0, 1], so is the accuracy.

    Example:
        >>> import numpy as np
        >>> c = {"chance": 0.25, "top": 0.95, "L0": 1.0, "k": 4.0}
        >>> round(float(LossToAccuracy().loss(np, c, {"loss": 1.0})), 3)
        0.6
    """

    name: ClassVar[str] = "loss-to-accuracy"
    title: ClassVar[str] = "second step: a benchmark's accuracy, a sigmoid in the loss"
    equation: ClassVar[str] = "Acc = chance + (top - chance) / (1 + exp(k (L - L0)))"
    source: ClassVar[str] = "the sigmoid of Llama 3, arXiv:2407.21783, section 3.2.1"
    columns: ClassVar[tuple[str, ...]] = ("loss",)
    coefficients: ClassVar[tuple[Coefficient, ...]] = (
        Coefficient("chance", "linear", 1e-9, 1.0, meaning="accuracy of a random guess"),
        Coefficient("top", "linear", 1e-9, 1.0, meaning="accuracy at loss 0"),
        Coefficient(
            "L0", "place", 1e-6, 1e3, tuple(0.1 * k for k in range(-5, 16)), "middle", "loss"
        ),
        Coefficient(
            "k", "exponent", 0.05, 100.0, tuple(0.5 * 1.5**k for k in range(11)), "steepness"
        ),
    )
    typical: ClassVar[Mapping[str, tuple[float, float]]] = {
        "chance": (0.1, 0.3),
        "top": (0.8, 0.98),
        "L0": (1.5, 3.0),
        "k": (1.0, 5.0),
        "loss": (1.0, 4.0),
    }

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The accuracy, in [0, 1]; see `Law.loss`."""
        left, done = self.basis(xp, c, x)
        return c["chance"] * left + c["top"] * done

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factors of chance and top, which sum to 1; see `Law.basis`."""
        past = c["k"] * (x["loss"] - c["L0"])
        return [xp.exp(-xp.logaddexp(0.0, -past)), xp.exp(-xp.logaddexp(0.0, past))]
