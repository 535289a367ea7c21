"""Value, gradient and Hessian of a sum of residual costs, for many coefficient vectors at once.

Two engines differentiate a law: hyper-dual numbers in NumPy (`fit.hyperdual`), which cover every
built-in law and start at once, and JAX (`fit.jax_derivatives`), for a plugin that calls other
functions. Both process the rows in chunks, so memory depends only on the batch. This module
minimises nothing and knows no prior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scalax.array_types import Float
from scalax.fit.cost import Cost
from scalax.fit.hyperdual import HyperDual, HyperDualNumpy, seed
from scalax.laws.base import Law

Derivatives = tuple[
    Float[np.ndarray, " batch"],
    Float[np.ndarray, "batch coefficients"],
    Float[np.ndarray, "batch coefficients coefficients"],
]
"""Value [batch], gradient [batch, coefficients], Hessian [batch, coefficients, coefficients]."""
Evaluate = Callable[[np.ndarray, np.ndarray], Derivatives]
"""From theta [batch, coefficients] and weights [rows] or [batch, rows] to `Derivatives`."""

CHUNK_VALUES = 400_000
"""Greatest size of one array: batch size times rows of a chunk."""


@dataclass(frozen=True)
class RowCosts:
    """A law, the rows to compare it with, and the cost of each log residual.

    Attributes:
        law: The law form.
        columns: The law's columns by name, [rows] each.
        log_measured: Logarithm of the measured metric, [rows].
        cost: Cost of a log residual.
        gauss: Whether to use the Gauss-Newton Hessian, with the curvature `Cost.bowl`, instead of
            the exact Hessian.
    """

    law: Law
    columns: Mapping[str, np.ndarray]
    log_measured: Float[np.ndarray, " rows"]
    cost: Cost
    gauss: bool = False

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.log_measured.size)

    def take(self, rows: np.ndarray | slice) -> RowCosts:
        """Returns the same costs on the rows that indices, a mask or a slice select."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(self, columns=columns, log_measured=self.log_measured[rows])


def differentiates_by_hyperdual(costs: RowCosts, theta: Float[np.ndarray, " coefficients"]) -> bool:
    """Returns whether the law uses only functions of `HyperDualNumpy`, by evaluating one row.

    Args:
        costs: The law and its rows.
        theta: Any valid point, [coefficients].
    """
    try:
        _loss(costs.take(slice(0, 1)), theta[None])
    except (AttributeError, TypeError, NotImplementedError):  # JAX then raises any real error
        return False
    return True


def by_hyperdual(costs: RowCosts) -> Evaluate:
    """Returns a function that differentiates by hyper-dual numbers."""
    size = len(costs.law.coefficients)

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        batch = len(theta)
        value, gradient = np.zeros(batch), np.zeros((batch, size))
        hessian = np.zeros((batch, size, size))
        chunk = max(1, CHUNK_VALUES // (4 * batch))
        for start in range(0, costs.rows, chunk):
            at = slice(start, start + chunk)
            part = costs if costs.rows <= chunk else costs.take(at)
            with np.errstate(all="ignore"):
                _add_chunk(part, theta, weights[..., at], value, gradient, hessian)
        upper = np.triu(hessian, 1)
        return value, gradient, hessian + upper.transpose(0, 2, 1)

    return evaluate


def _add_chunk(
    costs: RowCosts,
    theta: np.ndarray,
    weights: np.ndarray,
    value: np.ndarray,
    gradient: np.ndarray,
    hessian: np.ndarray,
) -> None:
    """Adds the rows of a chunk to the value, the gradient and the Hessian's upper triangle.

    With r = log loss - log measured: dr = d loss / loss, and the second derivative of r is that
    of the loss over the loss, less the outer product of dr.
    """
    batch, size = theta.shape
    rows = costs.rows
    loss = _loss(costs, theta)
    level = np.broadcast_to(loss.value, (batch, rows))
    r = np.log(level) - costs.log_measured
    slope, curve = costs.cost.slopes(r)
    slope = slope * weights
    value += np.sum(weights * costs.cost.value(r), axis=-1)
    inverse = 1.0 / level
    first = np.zeros((batch, size, rows))
    for k, part in loss.first.items():
        np.multiply(part, inverse, out=first[:, k])
    gradient += (first @ slope[:, :, None])[:, :, 0]
    bent = costs.cost.bowl(r) * weights if costs.gauss else curve * weights - slope
    outer = (first * bent[:, None, :]) @ first.transpose(0, 2, 1)
    hessian += np.triu(outer)
    if costs.gauss:
        return
    slope *= inverse
    for (k, m), part in loss.second.items():
        hessian[:, k, m] += _row_sum(slope, part)


def _row_sum(slope: np.ndarray, part: float | np.ndarray) -> np.ndarray:
    """Returns the sum over rows of slope [batch, rows] times a part that broadcasts against it."""
    part = np.asarray(part)
    if part.ndim < 2:
        return np.asarray(slope @ np.broadcast_to(part, slope.shape[1:]))
    if part.shape[1] == 1:
        return np.asarray(slope.sum(axis=1) * part[:, 0])
    return np.asarray(np.einsum("br,br->b", slope, part))


def log_jacobian_by_hyperdual(
    costs: RowCosts, theta: Float[np.ndarray, " coefficients"]
) -> Float[np.ndarray, "rows coefficients"]:
    """Returns the derivatives of log loss by theta at each row, [rows, coefficients]."""
    jacobian = np.zeros((costs.rows, theta.size))
    with np.errstate(all="ignore"):
        loss = _loss(costs, theta[None])
        for k, first in loss.first.items():
            jacobian[:, k] = np.broadcast_to(first / loss.value, (1, costs.rows))[0]
    return jacobian


def _loss(costs: RowCosts, theta: np.ndarray) -> HyperDual:
    """Returns the loss [batch, rows] with its derivatives by theta [batch, coefficients]."""
    c: dict[str, Any] = {}
    with np.errstate(all="ignore"):
        for k, spec in enumerate(costs.law.coefficients):
            variable = seed(theta[:, k, None], k)
            c[spec.name] = HyperDualNumpy.exp(variable) if spec.log else variable
        loss: Any = costs.law.loss(HyperDualNumpy, c, costs.columns)
        if not isinstance(loss, HyperDual):
            raise NotImplementedError("the loss does not depend on the coefficients")
        return loss
