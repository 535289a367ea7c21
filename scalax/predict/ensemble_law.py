"""An ensemble of fitted laws as one law: the weighted geometric mean of their losses.

It stands where a law form stands in a `Fit`; its coefficients lie in its members, so it cannot be
fitted and is not registered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law

NAME = "ensemble"


class Mixture(Law):
    """log L = sum over members of share * log L_member.

    Args:
        laws: The forms.
        coefficients: Of each.
        shares: Of each; they sum to 1.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "a weighted mean of several fitted laws"
    equation: ClassVar[str] = "log L = sum of share * log L_member"
    source: ClassVar[str] = "shares by the members' errors in rollouts"
    coefficients: ClassVar[tuple[Coefficient, ...]] = ()

    def __init__(
        self,
        laws: Sequence[Law],
        coefficients: Sequence[Mapping[str, float]],
        shares: Sequence[float],
    ) -> None:
        self.laws = list(laws)
        # A class attribute of other laws; an ensemble reads what its members read.
        vars(self)["columns"] = tuple(dict.fromkeys(name for law in laws for name in law.columns))
        self.given = [dict(each) for each in coefficients]
        self.shares = np.asarray(shares, dtype=float)

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; the coefficients are the members' own."""
        logs = self._logs(xp, x)
        return xp.exp(sum(s * at for s, at in zip(self.shares, logs, strict=True)))

    def spread(self, x: Mapping[str, Array]) -> Array:
        """Standard deviation of the members' log losses, weighted by share."""
        logs = self._logs(np, x)
        mean = sum(s * at for s, at in zip(self.shares, logs, strict=True))
        parts = (s * (at - mean) ** 2 for s, at in zip(self.shares, logs, strict=True))
        return np.sqrt(sum(parts))

    def split_spread(self, flops: float, compute: ComputeRule) -> float:
        """Standard deviation of the members' log N* at a budget, weighted by share."""
        logs = np.log(
            [
                float(law.allocate(given, flops, compute)[0])
                for law, given in zip(self.laws, self.given, strict=True)
            ]
        )
        return float(np.sqrt(self.shares @ (logs - self.shares @ logs) ** 2))

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """None: an ensemble has no coefficients of its own."""
        return []

    def _logs(self, xp: Any, x: Mapping[str, Array]) -> list[Array]:
        return [
            xp.log(law.loss(xp, given, x)) for law, given in zip(self.laws, self.given, strict=True)
        ]
