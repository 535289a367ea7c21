"""Hyper-dual numbers: arrays that carry exact first and second derivatives through NumPy code.

A law calls functions of an array namespace ``xp``. With `HyperDualNumpy` as ``xp`` and coefficients
from `seed`, its loss has exact derivatives without a compiler. `HyperDualNumpy` has the functions
that laws usually call; JAX differentiates a law that calls others (`scalax.fit.jax_derivatives`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any


class HyperDual:
    """A value with its first derivatives, by variable, and second derivatives, by pair (i <= j).

    A missing derivative is zero. The arrays broadcast against each other, so that an array that
    does not depend on the rows is stored once instead of once per row.
    """

    __slots__ = ("first", "second", "value")
    __array_ufunc__ = None

    def __init__(
        self, value: Array, first: dict[int, Array], second: dict[tuple[int, int], Array]
    ) -> None:
        self.value, self.first, self.second = value, first, second

    def chain(self, value: Array, slope: Array, curve: Array) -> HyperDual:
        """Applies a function, given its value and its two derivatives at this value."""
        first = {i: slope * g for i, g in self.first.items()}
        second = {pair: slope * h for pair, h in self.second.items()}
        bent = {i: curve * g for i, g in self.first.items()}
        for i, left in bent.items():
            for j, right in self.first.items():
                if i <= j:
                    _add(second, (i, j), left * right)
        return HyperDual(value, first, second)

    def __add__(self, other: Any) -> HyperDual:
        if not isinstance(other, HyperDual):
            return HyperDual(self.value + other, self.first, self.second)
        first, second = dict(self.first), dict(self.second)
        for i, g in other.first.items():
            _add(first, i, g)
        for pair, h in other.second.items():
            _add(second, pair, h)
        return HyperDual(self.value + other.value, first, second)

    def __mul__(self, other: Any) -> HyperDual:
        if not isinstance(other, HyperDual):
            return HyperDual(
                self.value * other,
                {i: g * other for i, g in self.first.items()},
                {pair: h * other for pair, h in self.second.items()},
            )
        first: dict[int, Array] = {i: g * other.value for i, g in self.first.items()}
        second = {pair: h * other.value for pair, h in self.second.items()}
        for i, g in other.first.items():
            _add(first, i, self.value * g)
        for pair, h in other.second.items():
            _add(second, pair, self.value * h)
        for i, left in self.first.items():
            for j, right in other.first.items():
                product = left * right
                _add(second, (min(i, j), max(i, j)), 2 * product if i == j else product)
        return HyperDual(self.value * other.value, first, second)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> HyperDual:
        return self * -1.0

    def __sub__(self, other: Any) -> HyperDual:
        return self + (-other)

    def __rsub__(self, other: Any) -> HyperDual:
        return -self + other

    def reciprocal(self) -> HyperDual:
        """Returns the reciprocal."""
        value = 1.0 / self.value
        return self.chain(value, -(value**2), 2 * value**3)

    def __truediv__(self, other: Any) -> HyperDual:
        return self * (other.reciprocal() if isinstance(other, HyperDual) else 1.0 / other)

    def __rtruediv__(self, other: Any) -> HyperDual:
        return self.reciprocal() * other

    def __pow__(self, other: Any) -> HyperDual:
        if isinstance(other, HyperDual):
            return HyperDualNumpy.exp(HyperDualNumpy.log(self) * other)
        return self.chain(
            self.value**other,
            other * self.value ** (other - 1),
            other * (other - 1) * self.value ** (other - 2),
        )

    def __rpow__(self, other: Any) -> HyperDual:
        return HyperDualNumpy.exp(self * np.log(other))


def seed(value: Array, index: int) -> HyperDual:
    """Returns a variable: its derivative by the variable of this index is 1."""
    return HyperDual(value, {index: 1.0}, {})


def _add(into: dict[Any, Array], key: Any, value: Array) -> None:
    into[key] = into[key] + value if key in into else value


def _lifted(
    plain: Callable[[Array], Array], parts: Callable[[Array], tuple[Array, Array, Array]]
) -> Any:
    def function(x: Any) -> Any:
        return x.chain(*parts(x.value)) if isinstance(x, HyperDual) else plain(x)

    return staticmethod(function)


def _exp(x: Array) -> tuple[Array, Array, Array]:
    value = np.exp(x)
    return value, value, value


def _log(x: Array) -> tuple[Array, Array, Array]:
    slope = 1.0 / x
    return np.log(x), slope, -(slope**2)


def _log1p(x: Array) -> tuple[Array, Array, Array]:
    slope = 1.0 / (1.0 + x)
    return np.log1p(x), slope, -(slope**2)


def _expm1(x: Array) -> tuple[Array, Array, Array]:
    slope = np.exp(x)
    return np.expm1(x), slope, slope


def _sqrt(x: Array) -> tuple[Array, Array, Array]:
    value = np.sqrt(x)
    return value, 0.5 / value, -0.25 / (value * x)


def _tanh(x: Array) -> tuple[Array, Array, Array]:
    value = np.tanh(x)
    slope = 1.0 - value**2
    return value, slope, -2 * value * slope


def _softplus(x: Array) -> tuple[Array, Array, Array]:
    value = np.logaddexp(0.0, x)
    slope = np.exp(x - value)
    return value, slope, slope * (1.0 - slope)


def _abs(x: Array) -> tuple[Array, Array, Array]:
    return np.abs(x), np.sign(x), np.zeros_like(x)


class HyperDualNumpy:
    """The functions that a law can call through ``xp``, for hyper-dual numbers and arrays."""

    exp = _lifted(np.exp, _exp)
    log = _lifted(np.log, _log)
    log1p = _lifted(np.log1p, _log1p)
    expm1 = _lifted(np.expm1, _expm1)
    sqrt = _lifted(np.sqrt, _sqrt)
    tanh = _lifted(np.tanh, _tanh)
    abs = _lifted(np.abs, _abs)

    @staticmethod
    def logaddexp(x: Any, y: Any) -> Any:
        """log(exp(x) + exp(y))."""
        if not (isinstance(x, HyperDual) or isinstance(y, HyperDual)):
            return np.logaddexp(x, y)
        difference = x - y
        return difference.chain(*_softplus(difference.value)) + y

    @staticmethod
    def power(x: Any, y: Any) -> Any:
        """x to the power y."""
        return x**y
