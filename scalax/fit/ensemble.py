"""Fits made to forecast: many laws and weightings, held back by weak priors.

A fit that only describes its rows may put its exponents anywhere that they allow; one that will be
asked beyond them must not. It fits arrays and forecasts arrays; choosing among the results is for
`calibrate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scalax.fit.constraints import Constraints, constrain
from scalax.fit.cost import Cost
from scalax.fit.newton import minimise
from scalax.fit.objective import Objective, Prior
from scalax.fit.rows import weigh
from scalax.fit.starts import grid_starts
from scalax.laws.base import Coefficient, Law

_STARTS = 4
_STEPS = 60
_TOLERANCE = 1e-8

# Mean and standard deviation, as weak as they can be and still stop a silly extrapolation: chosen
# on public sweeps without their two largest budgets, and on synthetic ones.
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
"""The floor as a share of the least loss measured, and the deviation of its logarithm."""
_STRENGTH = 5.0
_NOISE = 0.005


@dataclass(frozen=True)
class Member:
    """A law fitted under one weighting of the rows.

    Attributes:
        law: The law form.
        weights: ``flat``, ``compute`` or ``flops``; see `scalax.fit.rows.weigh`.
    """

    law: Law
    weights: str


def forecast_prior(law: Law, log_measured: np.ndarray, delta: float) -> Prior:
    """The prior on theta under which a law is asked beyond its rows.

    Its weight against the rows is that of a handful of them: a Huber cost far outside delta is
    ``delta * abs(r)``, a Laplace likelihood times delta times the noise, taken to be 0.5 %; and
    the prior counts five times, since rows err together.

    Args:
        law: The law form.
        log_measured: Logarithm of the measured metric, [rows].
        delta: Of the Huber cost.
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
    members: list[Member],
    columns: Mapping[str, np.ndarray],
    log_measured: np.ndarray,
    *,
    cost: Cost,
    held: Constraints | None = None,
    held_back: bool = True,
) -> list[np.ndarray | None]:
    """Fits each member to all the rows given.

    Args:
        members: What to fit.
        columns: Columns by name, [rows] each; ``flops`` among them for the weights.
        log_measured: Logarithm of the measured metric, [rows].
        cost: Of a log residual.
        held: What the fit may move, where all members are of one law.
        held_back: Whether the priors apply. Without them the objective is that of
            `scalax.fit.estimate.fit`.

    Returns:
        Theta [coefficients] of each member; None where its law is not finite on the rows.
    """
    found: dict[int, np.ndarray | None] = {}
    for law in {id(m.law): m.law for m in members}.values():
        mine = [k for k, m in enumerate(members) if m.law is law]
        objective = Objective(
            law,
            {name: columns[name] for name in law.columns},
            log_measured,
            cost,
            limits=held.limits if held else {},
            prior=forecast_prior(law, log_measured, cost.delta) if held_back else None,
        )
        free = held or constrain(law, {}, (), {})
        weights = [weigh(columns["flops"], members[k].weights) for k in mine]
        starts = [grid_starts(objective, each, _STARTS, free) for each in weights]
        owner = np.repeat(np.arange(len(mine)), [len(s) for s in starts])
        if not len(owner):
            found.update(dict.fromkeys(mine))
            continue
        solved = minimise(
            free.derivatives(objective.derivatives()),
            free.reduce(np.concatenate(starts)),
            np.stack(weights)[owner],
            free.bounds(*objective.bounds()),
            most_steps=_STEPS,
            tolerance=_TOLERANCE,
        )
        for place, k in enumerate(mine):
            at = np.flatnonzero((owner == place) & np.isfinite(solved.value))
            best = at[np.argmin(solved.value[at])] if at.size else None
            found[k] = None if best is None else free.expand(solved.theta[best][None])[0]
    return [found[k] for k in range(len(members))]


def log_forecast(law: Law, theta: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The logarithm of the loss that a fitted law gives at each row, [rows]."""
    c = {
        spec.name: np.exp(value) if spec.log else value
        for spec, value in zip(law.coefficients, theta, strict=True)
    }
    with np.errstate(all="ignore"):
        return np.asarray(np.log(law.loss(np, c, columns)))
