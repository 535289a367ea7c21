"""Fits for forecasting: several laws and row weightings, regularised by weak priors.

The rows alone may allow implausible exponents, which ruin a forecast beyond the rows; the priors
exclude such exponents. `scalax.fit.calibration` combines the fits into an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float
from scalax.fit.constraints import Constraints, constrain
from scalax.fit.cost import Cost
from scalax.fit.newton import minimise
from scalax.fit.objective import Objective, Prior
from scalax.fit.rows import weigh
from scalax.fit.starts import grid_starts
from scalax.laws.base import Coefficient, Law

_STARTS = 4
"""Number of starts of each fit."""
_STEPS = 60
"""Greatest number of Newton steps."""
_TOLERANCE = 1e-8
"""Relative tolerance of the objective."""

# Prior mean and standard deviation of an exponent: as weak as possible while they still prevent an
# absurd extrapolation. Chosen on public sweeps without their two largest budgets, and on synthetic
# sweeps.
_EXPONENTS = {
    ("chinchilla", "alpha"): (0.36, 0.12),
    ("chinchilla", "beta"): (0.36, 0.12),
    ("joint", "alpha"): (0.45, 0.2),
    ("joint", "beta"): (0.45, 0.2),
    ("joint", "gamma"): (0.9, 0.3),
    ("kaplan", "alpha_N"): (0.08, 0.06),
    ("kaplan", "alpha_D"): (0.10, 0.06),
}
_FLOOR = (0.65, 0.2)
"""Prior mean of the floor relative to the least measured loss, and deviation of its logarithm."""
_STRENGTH = 5.0
"""Factor on the prior's weight, because the errors of rows are correlated."""
_NOISE = 0.005
"""Relative noise of a measured loss that the prior's weight assumes."""


@dataclass(frozen=True)
class LawVariant:
    """A law form with the row weights that it is fitted with.

    Attributes:
        law: The law form.
        weights: ``flat``, ``compute`` or ``flops``; see `scalax.fit.rows.row_weights`.
    """

    law: Law
    weights: str


def forecast_prior(law: Law, log_measured: Float[np.ndarray, " rows"], delta: float) -> Prior:
    """Returns the prior on theta for a fit that will extrapolate; it weighs as much as a few rows.

    Beyond delta the Huber cost is ``delta * abs(r)``, which is minus the log of a Laplace
    likelihood times delta times its scale. With a scale of 0.5 %, minus the log prior is multiplied
    by 0.005 delta to match, and by five because the errors of rows are correlated.

    Args:
        law: The law form.
        log_measured: Logarithm of the measured metric, [rows].
        delta: Residual at which the Huber cost becomes linear.
    """
    least = float(np.exp(log_measured.min()))
    pairs = [_pair(law, c, least) for c in law.coefficients]
    mean = np.asarray([pair[0] for pair in pairs])
    deviation = np.asarray([pair[1] for pair in pairs])
    return Prior(mean, _STRENGTH * delta * _NOISE / deviation**2)


def _pair(law: Law, coefficient: Coefficient, least: float) -> tuple[float, float]:
    if coefficient.role == "floor" or coefficient.name == "E":
        return float(np.log(_FLOOR[0] * least)), _FLOOR[1]
    return _EXPONENTS.get((law.name, coefficient.name), (0.0, np.inf))


def fit_members(
    members: list[LawVariant],
    columns: Mapping[str, np.ndarray],
    log_measured: Float[np.ndarray, " rows"],
    *,
    cost: Cost,
    constraints: Constraints | None = None,
    use_priors: bool = True,
) -> list[np.ndarray | None]:
    """Fits each member to all rows.

    Args:
        members: The laws to fit, and their row weights.
        columns: Columns by name, [rows] each: those of the laws, and ``flops`` for the weights.
        log_measured: Logarithm of the measured metric, [rows].
        cost: Cost of a log residual.
        constraints: Constraints on the coefficients, where all members have one law.
        use_priors: Whether to add the priors. Without them the objective is the same as in
            `scalax.fit.estimate.fit`.

    Returns:
        Theta [coefficients] of each member; None where no start has a finite objective.
    """
    thetas: dict[int, np.ndarray | None] = {}
    for law in {id(m.law): m.law for m in members}.values():
        variants = [k for k, m in enumerate(members) if m.law is law]
        objective = Objective(
            law,
            {name: columns[name] for name in law.columns},
            log_measured,
            cost,
            limits=constraints.limits if constraints else {},
            prior=forecast_prior(law, log_measured, cost.delta) if use_priors else None,
        )
        free = constraints or constrain(law, {}, (), {})
        weights = [weigh(columns["flops"], members[k].weights) for k in variants]
        starts = [grid_starts(objective, each, _STARTS, free) for each in weights]
        owner = np.repeat(np.arange(len(variants)), [len(s) for s in starts])
        if not len(owner):
            thetas.update(dict.fromkeys(variants))
            continue
        solved = minimise(
            free.derivatives(objective.derivatives()),
            free.reduce(np.concatenate(starts)),
            np.stack(weights)[owner],
            free.bounds(*objective.bounds()),
            most_steps=_STEPS,
            tolerance=_TOLERANCE,
        )
        for position, k in enumerate(variants):
            at = np.flatnonzero((owner == position) & np.isfinite(solved.value))
            best = at[np.argmin(solved.value[at])] if at.size else None
            thetas[k] = None if best is None else free.expand(solved.theta[best][None])[0]
    return [thetas[k] for k in range(len(members))]


def log_forecast(
    law: Law, theta: Float[np.ndarray, " coefficients"], columns: Mapping[str, np.ndarray]
) -> Float[np.ndarray, " rows"]:
    """Returns the log loss of a fitted law at each row, [rows].

    Args:
        law: The law form.
        theta: The estimate, [coefficients].
        columns: The law's columns by name, [rows] each.
    """
    c = {
        spec.name: np.exp(value) if spec.log else value
        for spec, value in zip(law.coefficients, theta, strict=True)
    }
    with np.errstate(all="ignore"):
        return np.asarray(np.log(law.loss(np, c, columns)))
