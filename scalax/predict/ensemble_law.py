"""An ensemble of fitted laws as one law: the weighted geometric mean of their losses.

The coefficients belong to the members, so an ensemble cannot be fitted as a law form and is not
registered.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, Coefficient, ComputeRule, Law
from scalax.laws.resolve import resolve_law

NAME = "ensemble"


@dataclass(frozen=True)
class EnsembleMember:
    """One fitted law of an ensemble.

    Attributes:
        law: Name of the law form.
        weights: Row weights that the member was fitted with: ``flat``, ``compute`` or ``flops``.
        share: Weight of the member in the ensemble; the shares sum to 1.
        coefficients: By name.
    """

    law: str
    weights: str
    share: float
    coefficients: dict[str, float]

    def __getitem__(self, name: str) -> Any:
        """Deprecated: returns an attribute by name, as when members were dictionaries."""
        warnings.warn(f"use member.{name}", DeprecationWarning, stacklevel=2)
        return asdict(self)[name]


class EnsembleLaw(Law):
    """log L = sum over members of share * log L_member.

    Args:
        members: The fitted laws and their shares.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "a weighted mean of several fitted laws"
    equation: ClassVar[str] = "log L = sum of share * log L_member"
    source: ClassVar[str] = "shares by the members' errors in backtests"
    coefficients: ClassVar[tuple[Coefficient, ...]] = ()

    def __init__(self, members: Sequence[EnsembleMember]) -> None:
        self.members = list(members)
        self.laws: list[Law] = [resolve_law(member.law) for member in members]
        # A class attribute of other laws; an ensemble reads what its members read.
        vars(self)["columns"] = tuple(dict.fromkeys(n for law in self.laws for n in law.columns))
        self.shares = np.asarray([member.share for member in members], dtype=float)

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """Returns the loss; ``c`` is ignored, since the members have their own coefficients."""
        logs = self._log_losses(xp, x)
        return xp.exp(sum(s * at for s, at in zip(self.shares, logs, strict=True)))

    def loss_spread(self, x: Mapping[str, Array]) -> Array:
        """Returns the standard deviation of the members' log losses, weighted by share."""
        logs = self._log_losses(np, x)
        mean = sum(s * at for s, at in zip(self.shares, logs, strict=True))
        parts = (s * (at - mean) ** 2 for s, at in zip(self.shares, logs, strict=True))
        return np.sqrt(sum(parts))

    def split_spread(self, flops: float, compute: ComputeRule) -> float:
        """Returns the standard deviation of the members' log N* at a budget, weighted by share."""
        logs = np.log(
            [
                float(law.allocate(member.coefficients, flops, compute)[0])
                for law, member in zip(self.laws, self.members, strict=True)
            ]
        )
        return float(np.sqrt(self.shares @ (logs - self.shares @ logs) ** 2))

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """Returns no features: an ensemble has no coefficients of its own."""
        return []

    def _log_losses(self, xp: Any, x: Mapping[str, Array]) -> list[Array]:
        return [
            xp.log(law.loss(xp, member.coefficients, x))
            for law, member in zip(self.laws, self.members, strict=True)
        ]
