"""Designs of synthetic sweeps: which sizes are trained at which budgets."""

from __future__ import annotations

import numpy as np

from scalax.laws.base import ComputeRule
from scalax.predict.protocol import ScalingLaw

# The default design: isoFLOPs as in published studies.
_BUDGETS, _APART = 5, 10**0.5
_SIZES, _SPAN = 7, 16.0
_OFF, _WANDER = 0.4, 0.15
_FIRST = 1e18


def isoflops(
    budgets: np.ndarray,
    centres: np.ndarray,
    sizes: int,
    span: float,
    rule: ComputeRule,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns runs of several sizes around a centre at each budget, evenly spaced in log size.

    Args:
        budgets: FLOPs, [budgets].
        centres: Middle size at each budget, [budgets].
        sizes: Number of sizes at each budget.
        span: Ratio of the largest to the smallest size.
        rule: The rule that gives FLOPs from params and tokens.

    Returns:
        params and tokens, [budgets * sizes].
    """
    params = centres[:, None] * span ** np.linspace(-0.5, 0.5, sizes)
    tokens = rule.tokens(params, budgets[:, None])
    return params.ravel(), np.asarray(tokens).ravel()


def usual_design(law: ScalingLaw, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns five isoFLOPs of seven sizes, half a decade apart and off centre as in practice.

    The centres differ from the law's best sizes by a factor whose logarithm has a standard
    deviation of 0.4, and the factor changes with the budget. The largest budget is that of the
    runs behind the law if it is known, and 1e20 FLOPs otherwise.

    Returns:
        params and tokens, [35].
    """
    fit = law.require_loss()
    largest = fit.ranges.get("flops", [0, _FIRST * _APART ** (_BUDGETS - 1)])[1]
    budgets = largest / _APART ** np.arange(_BUDGETS - 1, -1, -1)
    best = np.asarray([law.allocate(float(budget)).params for budget in budgets])
    steps = np.arange(_BUDGETS) - (_BUDGETS - 1) / 2
    off = rng.normal(0, _OFF) + rng.normal(0, _WANDER) * steps
    return isoflops(budgets, best * np.exp(off), _SIZES, _SPAN, fit.compute)
