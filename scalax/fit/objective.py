"""The exact objective of a fit and its derivatives, for many coefficient vectors at once.

objective(theta) = sum over rows of weight * Huber_delta(log loss(theta) - log measured)

(Hoffmann et al. 2022, equation 3.) theta holds the logarithm of each linear coefficient and each
exponent as it is. Laws that are sums of exponentials are differentiated in closed form by NumPy;
any other law by JAX, in float64. Nothing here iterates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalax.laws.base import Array, Law

Derivatives = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Objective:
    """A law, the rows it is held against, and the loss function between them.

    Attributes:
        law: The law form.
        columns: Columns by name, arrays [rows].
        log_measured: Logarithm of the measured metric, [rows].
        delta: Where the Huber loss turns from quadratic to linear, in log units.
    """

    law: Law
    columns: Mapping[str, np.ndarray]
    log_measured: np.ndarray
    delta: float

    def coefficients(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Coefficients by name, each [batch], from theta [batch, coefficients]."""
        return {
            c.name: np.exp(theta[:, k]) if c.role == "linear" else theta[:, k]
            for k, c in enumerate(self.law.coefficients)
        }

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest theta, [coefficients] each."""
        pairs = [
            (np.log(c.low), np.log(c.high)) if c.role == "linear" else (c.low, c.high)
            for c in self.law.coefficients
        ]
        low, high = np.asarray(pairs).T
        return low, high

    def residuals(self, theta: np.ndarray) -> np.ndarray:
        """Log residuals [batch, rows]; not finite where the law is not."""
        c = {name: value[:, None] for name, value in self.coefficients(theta).items()}
        with np.errstate(all="ignore"):
            return np.log(self.law.loss(np, c, self.columns)) - self.log_measured

    def value(self, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The objective [batch]; infinite where the law is not finite.

        Args:
            theta: [batch, coefficients].
            weights: [rows], or [batch, rows].
        """
        total = np.sum(weights * huber(self.residuals(theta), self.delta), axis=-1)
        return np.where(np.isfinite(total), total, np.inf)

    def derivatives(self) -> Callable[[np.ndarray, np.ndarray], Derivatives]:
        """A function of theta and weights (as in `value`) to value, gradient and Hessian.

        Returns:
            Arrays [batch], [batch, coefficients] and [batch, coefficients, coefficients].
        """
        terms = self.law.terms(self.columns)
        if terms is None:
            return _by_jax(self)
        index = {c.name: k for k, c in enumerate(self.law.coefficients)}
        indexed = [{index[name]: factor for name, factor in term.items()} for term in terms]
        return lambda theta, weights: _closed(self, indexed, theta, weights)


def huber(r: Array, delta: float, xp: Any = np) -> Array:
    """Huber's loss: r^2 / 2 up to delta, then delta * (abs(r) - delta / 2)."""
    size = xp.abs(r)
    return xp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta))


def _closed(
    objective: Objective, terms: list[dict[int, Array]], theta: np.ndarray, weights: np.ndarray
) -> Derivatives:
    """With shares p_j = term_j / loss, d log loss = sum_j p_j X_j, and the curvature is
    sum_j p_j X_j X_j' less the square of that gradient."""
    batch, size = theta.shape
    logs = [
        sum((theta[:, k, None] * factor for k, factor in term.items()), start=np.zeros((batch, 1)))
        for term in terms
    ]
    rows = objective.log_measured.size
    stack = np.stack([np.broadcast_to(z, (batch, rows)) for z in logs])
    peak = stack.max(axis=0)
    shares = np.exp(stack - peak)
    total = shares.sum(axis=0)
    shares /= total
    r = peak + np.log(total) - objective.log_measured
    slope = weights * np.clip(r, -objective.delta, objective.delta)
    curve = weights * (np.abs(r) <= objective.delta)

    gradient_rows = np.zeros((batch, size, rows))
    hessian = np.zeros((batch, size, size))
    for share, term in zip(shares, terms, strict=True):
        pulled = slope * share
        for k, factor in term.items():
            gradient_rows[:, k] += share * factor
            for m, other in term.items():
                if m >= k:
                    entry = np.sum(pulled * factor * other, axis=-1)
                    hessian[:, k, m] += entry
                    if m != k:
                        hessian[:, m, k] += entry
    value = np.sum(weights * huber(r, objective.delta), axis=-1)
    gradient = np.einsum("br,bkr->bk", slope, gradient_rows)
    weighted = gradient_rows * (curve - slope)[:, None, :]
    hessian += weighted @ gradient_rows.transpose(0, 2, 1)
    return value, gradient, hessian


def _by_jax(objective: Objective) -> Callable[[np.ndarray, np.ndarray], Derivatives]:
    import jax
    import jax.numpy as jnp

    law, delta = objective.law, objective.delta

    def value(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        c = {
            spec.name: jnp.exp(theta[k]) if spec.role == "linear" else theta[k]
            for k, spec in enumerate(law.coefficients)
        }
        r = jnp.log(law.loss(jnp, c, columns)) - log_measured
        return jnp.sum(weights * huber(r, delta, jnp))

    def all_three(theta: Any, weights: Any, columns: Any, log_measured: Any) -> Any:
        first, gradient = jax.value_and_grad(value)(theta, weights, columns, log_measured)
        return first, gradient, jax.hessian(value)(theta, weights, columns, log_measured)

    batched = jax.jit(jax.vmap(all_three, in_axes=(0, 0, None, None)))

    def evaluate(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
        with jax.enable_x64(True):
            each = np.broadcast_to(weights, (len(theta), objective.log_measured.size))
            columns = {name: jnp.asarray(v) for name, v in objective.columns.items()}
            found = batched(theta, each, columns, jnp.asarray(objective.log_measured))
            value, gradient, hessian = (np.array(part) for part in found)
        return value, gradient, hessian

    return evaluate
