"""Designs of synthetic sweeps: the sizes at each budget."""

from __future__ import annotations

import numpy as np

from scalax.laws.base import ComputeRule
from scalax.predict.protocol import ScalingLaw

# The default design: isoFLOPs as in published studies. Deviations are of log size.
_BUDGETS, _BUDGET_RATIO = 5, 10**0.5
_SIZES, _SIZE_RATIO = 7, 16.0
_OFFSET_STD, _TREND_STD = 0.4, 0.15
_SMALLEST = 1e18


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
    deviation of 0.4, and the factor changes with the budget. The largest budget is the
    largest of the runs behind the law if it is known, and 1e20 FLOPs otherwise.

    Returns:
        params and tokens, [35].
    """
    fit = law.require_loss()
    largest = fit.ranges.get("flops", [0, _SMALLEST * _BUDGET_RATIO ** (_BUDGETS - 1)])[1]
    budgets = largest / _BUDGET_RATIO ** np.arange(_BUDGETS - 1, -1, -1)
    best = np.asarray([law.allocate(float(budget)).params for budget in budgets])
    steps = np.arange(_BUDGETS) - (_BUDGETS - 1) / 2
    offset = rng.normal(0, _OFFSET_STD) + rng.normal(0, _TREND_STD) * steps
    return isoflops(budgets, best * np.exp(offset), _SIZES, _SIZE_RATIO, fit.compute)
