"""The objective of a fit: a weighted sum of residual costs, plus an optional prior.

    objective(theta) = sum over rows of weight * cost(log loss(theta) - log measured) + prior(theta)

This is equation 3 of Hoffmann et al. 2022, plus the prior. theta consists of the logarithm of each
positive coefficient and the value of each exponent. `scalax.fit.derivatives` computes derivatives,
and `scalax.fit.newton` minimises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scalax.array_types import Float
from scalax.fit.cost import Cost
from scalax.fit.derivatives import Derivatives as Derivatives
from scalax.fit.derivatives import Evaluate as Evaluate
from scalax.fit.derivatives import (
    RowCosts,
    by_hyperdual,
    differentiates_by_hyperdual,
    log_jacobian_by_hyperdual,
)
from scalax.fit.jax_derivatives import by_jax, log_jacobian_by_jax
from scalax.laws.base import Law


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior on theta: 0.5 * sum of precision * (theta - mean)^2.

    Attributes:
        mean: [coefficients], in the units of theta.
        precision: [coefficients]; 0 for a coefficient without a prior.
    """

    mean: Float[np.ndarray, " coefficients"]
    precision: Float[np.ndarray, " coefficients"]


@dataclass(frozen=True)
class Objective:
    """A law, the rows to fit it to, the cost of a residual, and a prior.

    Attributes:
        law: The law form.
        columns: The law's columns by name, [rows] each.
        log_measured: Logarithm of the measured metric, [rows].
        cost: Cost of a log residual.
        limits: Least and greatest value by coefficient name, in the coefficient's own unit. They
            apply in addition to the bounds of the law.
        prior: Prior on theta, or None.
        gauss: Whether to use the Gauss-Newton Hessian, with the curvature `Cost.bowl`, instead of
            the exact Hessian. Its steps are longer in a curved valley.
    """

    law: Law
    columns: Mapping[str, np.ndarray]
    log_measured: Float[np.ndarray, " rows"]
    cost: Cost = field(default_factory=Cost)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prior: Prior | None = None
    gauss: bool = False

    def coefficients(
        self, theta: Float[np.ndarray, "batch coefficients"]
    ) -> dict[str, Float[np.ndarray, " batch"]]:
        """Returns the coefficients by name, [batch] each, in their own units."""
        with np.errstate(over="ignore"):  # an overflow gives an infinite loss, which is rejected
            return {
                c.name: np.exp(theta[:, k]) if c.log else theta[:, k]
                for k, c in enumerate(self.law.coefficients)
            }

    def bounds(
        self,
    ) -> tuple[Float[np.ndarray, " coefficients"], Float[np.ndarray, " coefficients"]]:
        """Returns the least and greatest theta, [coefficients] each."""
        pairs = []
        for c in self.law.coefficients:
            low, high = self.limits.get(c.name, (c.low, c.high))
            low, high = max(low, c.low), min(high, c.high)
            pairs.append((np.log(low), np.log(high)) if c.log else (low, high))
        least, greatest = np.asarray(pairs, float).T
        return least, greatest

    def rows(self, selection: np.ndarray) -> Objective:
        """Returns the same objective on the rows that a mask or indices select."""
        columns = {name: values[selection] for name, values in self.columns.items()}
        return replace(self, columns=columns, log_measured=self.log_measured[selection])

    def residuals(
        self, theta: Float[np.ndarray, "batch coefficients"]
    ) -> Float[np.ndarray, "batch rows"]:
        """Returns log predicted - log measured; not finite where the loss is not finite."""
        c = {name: value[:, None] for name, value in self.coefficients(theta).items()}
        with np.errstate(all="ignore"):
            log_loss = np.log(self.law.loss(np, c, self.columns))
            return np.asarray(log_loss - self.log_measured)

    def value(
        self,
        theta: Float[np.ndarray, "batch coefficients"],
        weights: Float[np.ndarray, "*weighted rows"],
    ) -> Float[np.ndarray, " batch"]:
        """Returns the objective; infinite where the loss is not finite.

        Args:
            theta: [batch, coefficients].
            weights: [rows], or [batch, rows].
        """
        total = np.sum(weights * self.cost.value(self.residuals(theta)), axis=-1)
        if self.prior is not None:
            total = total + 0.5 * np.sum(
                self.prior.precision * (theta - self.prior.mean) ** 2, axis=-1
            )
        return np.where(np.isfinite(total), total, np.inf)

    def jacobian(
        self, theta: Float[np.ndarray, " coefficients"]
    ) -> Float[np.ndarray, "rows coefficients"]:
        """Returns the derivatives of log loss by theta at each row."""
        costs = self._row_costs()
        if self._covered_by_hyperdual(costs):
            return log_jacobian_by_hyperdual(costs, theta)
        return log_jacobian_by_jax(costs, theta)

    def derivatives(self) -> Evaluate:
        """Returns the function that computes the objective and its derivatives."""
        costs = self._row_costs()
        engine = by_hyperdual if self._covered_by_hyperdual(costs) else by_jax
        without_prior, prior = engine(costs), self.prior
        if prior is None:
            return without_prior

        def with_prior(theta: np.ndarray, weights: np.ndarray) -> Derivatives:
            value, gradient, hessian = without_prior(theta, weights)
            offset = theta - prior.mean
            value = value + 0.5 * np.sum(prior.precision * offset**2, axis=-1)
            return value, gradient + prior.precision * offset, hessian + np.diag(prior.precision)

        return with_prior

    def _row_costs(self) -> RowCosts:
        return RowCosts(self.law, self.columns, self.log_measured, self.cost, self.gauss)

    def _covered_by_hyperdual(self, costs: RowCosts) -> bool:
        low, high = self.bounds()
        return differentiates_by_hyperdual(costs, np.clip(0.5, low, high))
