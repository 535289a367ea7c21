"""Laws that are sums of power terms: a law declares its form, and the methods follow from it.

`PowerSum` describes a form; `PowerLaw` derives from it the loss, the linear factors that the solver
uses, and the optimal split of a budget in closed form where there is one. Other forms subclass
`Law` directly.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from scalax.laws.base import Array, ComputeRule, Law
from scalax.laws.closed_allocation import split_two_powers


@dataclass(frozen=True)
class Exponent:
    """A number times powers of coefficients, such as ``2 eta`` or ``alpha_N / alpha_D``.

    Attributes:
        factor: The number.
        powers: Power of each coefficient by name.

    Example:
        >>> Exponent(2.0, {"eta": 1}).value({"eta": 0.25})
        0.5
    """

    factor: float = 1.0
    powers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, value: str | float | Exponent) -> Exponent:
        """Returns an exponent from a coefficient's name or a number."""
        if isinstance(value, Exponent):
            return value
        return cls(1.0, {value: 1}) if isinstance(value, str) else cls(float(value))

    def value(self, c: Mapping[str, Array]) -> Array:
        """The exponent's value.

        Args:
            c: Coefficients by name.
        """
        product: Array | None = None
        for name, power in self.powers.items():
            size = c[name] if power == 1 else c[name] ** power
            product = size if product is None else product * size
        if product is None:
            return self.factor
        return product if self.factor == 1 else self.factor * product

    @property
    def is_one(self) -> bool:
        """Whether the exponent is the number 1."""
        return self.factor == 1 and not self.powers


@dataclass(frozen=True)
class Term:
    """One term of a sum: an amount divided by a product of powers, ``amount / base**exponent``.

    Attributes:
        amount: Name of the linear coefficient.
        powers: Exponent of each base in the denominator. A base is a column, a ratio of columns
            such as ``"params_active/params"``, or a positive number; an exponent is the name of a
            coefficient, a number, or an `Exponent`.
        amount_power: Power of the amount in the sum; 1 unless the source writes ``(Nc / N)^alpha``.

    Example:
        >>> import numpy as np
        >>> term = Term("A", {"params": "alpha"})
        >>> float(term.log_factor(np, {"alpha": 0.5}, {"params": np.exp(2.0)}))
        -1.0
    """

    amount: str
    powers: Mapping[str | float, str | float | Exponent] = field(default_factory=dict)
    amount_power: str | float | Exponent = 1.0

    def log_factor(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """Logarithm of the term without its amount; 0.0 for a constant term."""
        parts = [
            -Exponent.of(exponent).value(c) * _log_base(xp, base, x)
            for base, exponent in self.powers.items()
        ]
        return functools.reduce(operator.add, parts) if parts else 0.0

    def log_size(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """Logarithm of the whole term."""
        power = Exponent.of(self.amount_power)
        log_amount = xp.log(c[self.amount])
        if not power.is_one:
            log_amount = power.value(c) * log_amount
        return log_amount + self.log_factor(xp, c, x)

    def names(self) -> set[str]:
        """Names of all coefficients in the term."""
        exponents = [Exponent.of(e) for e in (*self.powers.values(), self.amount_power)]
        return {self.amount}.union(*(e.powers for e in exponents))


@dataclass(frozen=True)
class PowerSum:
    """``sum of terms``, or ``floor + (sum of terms)**outer``.

    Attributes:
        terms: The terms. A constant one, ``Term("E")``, is the floor of a sum without ``outer``.
        floor: Name of the floor coefficient outside the outer power; None without one.
        outer: The outer exponent; 1 for a plain sum.
    """

    terms: Sequence[Term]
    floor: str | None = None
    outer: str | float | Exponent = 1.0


class PowerLaw(Law):
    """A law that is a `PowerSum`. A subclass declares ``form`` and the coefficients; no methods.

    The amounts of terms have the role ``"linear"``, the floor of a form with an outer exponent has
    the role ``"floor"``, and all other coefficients are exponents.

    Class attributes:
        form: The form.

    Example:
        >>> import numpy as np
        >>> class Root(PowerLaw):
        ...     form = PowerSum([Term("E"), Term("A", {"params": 0.5})])
        >>> round(float(Root().loss(np, {"E": 2.0, "A": 100.0}, {"params": 1e4})), 9)
        3.0
    """

    form: ClassVar[PowerSum]

    def loss(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> Array:
        """The loss; see `Law.loss`."""
        if self._plain:
            factors = zip(self.form.terms, self.basis(xp, c, x), strict=True)
            sizes = [c[term.amount] * factor for term, factor in factors]
            return functools.reduce(operator.add, sizes)
        log_sizes = [term.log_size(xp, c, x) for term in self.form.terms]
        log_sum: Array = functools.reduce(xp.logaddexp, log_sizes)
        power = xp.exp(Exponent.of(self.form.outer).value(c) * log_sum)
        return power if self.form.floor is None else c[self.form.floor] + power

    def basis(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array]) -> list[Array]:
        """The factor of each amount, or of its power, in the sum; see `Law.basis`."""
        return [
            xp.exp(term.log_factor(xp, c, x)) if term.powers else 1.0 for term in self.form.terms
        ]

    def target(self, xp: Any, c: Mapping[str, Array], x: Mapping[str, Array], loss: Array) -> Array:
        """The sum of terms that gives the loss, NaN where the loss is below the floor."""
        if self._plain:
            return loss
        root = Exponent.of(self.form.outer).value(c)
        if self.form.floor is None:
            return xp.exp(xp.log(loss) / root)
        above = loss - c[self.form.floor]
        safe = xp.where(above > 0, above, 1.0)
        return xp.where(above > 0, xp.exp(xp.log(safe) / root), xp.nan)

    def untangle(self, c: Mapping[str, Array], amounts: Mapping[str, Array]) -> dict[str, Array]:
        """Amounts from their powers in the sum; see `Law.untangle`."""
        values = dict(amounts)
        for term in self.form.terms:
            power = Exponent.of(term.amount_power)
            if not power.is_one:
                values[term.amount] = np.exp(np.log(amounts[term.amount]) / power.value(c))
        return values

    def allocate(
        self,
        c: Mapping[str, Array],
        flops: Array,
        compute: ComputeRule,
        given: Mapping[str, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Returns the optimal split; see `Law.allocate`.

        It has a closed form if exactly two terms vary, one with params and one with tokens. The
        floor, a constant term and the outer exponent do not change the optimum. For other forms it
        is a search.
        """
        pair = self._split_terms()
        if pair is None:
            return super().allocate(c, flops, compute, given)
        of_params, of_tokens = pair
        with np.errstate(invalid="ignore"):  # NaN where a term grows: no split is optimal
            return split_two_powers(
                *_slope_and_log_size(of_params, c, "params"),
                *_slope_and_log_size(of_tokens, c, "tokens"),
                flops,
                compute,
            )

    def _split_terms(self) -> tuple[Term, Term] | None:
        """Returns the params term and the tokens term, if no other terms vary; else None."""
        varying = [term for term in self.form.terms if any(map(_is_column, term.powers))]
        by_column = {
            next(filter(_is_column, term.powers)): term
            for term in varying
            if sum(map(_is_column, term.powers)) == 1
        }
        if len(varying) == 2 and set(by_column) == {"params", "tokens"}:
            return by_column["params"], by_column["tokens"]
        return None

    @property
    def _plain(self) -> bool:
        """Whether the loss is the sum of the terms, without outer exponent or amount powers."""
        powers = (term.amount_power for term in self.form.terms)
        return self.form.floor is None and all(
            Exponent.of(power).is_one for power in (self.form.outer, *powers)
        )


def _log_base(xp: Any, base: str | float, x: Mapping[str, Array]) -> Array:
    if not isinstance(base, str):
        return math.log(base)
    column, _, divisor = base.partition("/")
    return xp.log(x[column]) - xp.log(x[divisor]) if divisor else xp.log(x[column])


def _is_column(base: str | float) -> bool:
    return isinstance(base, str)


def _slope_and_log_size(term: Term, c: Mapping[str, Array], column: str) -> tuple[Array, Array]:
    """Returns the exponent of a column, and the logarithm of the term at column = 1."""
    return Exponent.of(term.powers[column]).value(c), term.log_size(np, c, {column: np.ones(())})
