"""The split of a budget where data is limited, and the frontier over several budgets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scalax.laws.base import ComputeRule
from scalax.predict.answers import Allocation
from scalax.predict.columns import positive
from scalax.predict.protocol import ScalingLaw
from scalax.predict.recommend import recommend


def allocate_limited(
    law: ScalingLaw, flops: float, max_tokens: float | None, **given: float
) -> Allocation:
    """Splits a budget with at most ``max_tokens`` tokens.

    Where the limit binds, the rest of the budget goes to parameters, since the loss of a law falls
    in them when data is fixed.

    Args:
        law: The law.
        flops: The budget, in FLOPs.
        max_tokens: Tokens available; None for no limit.
        **given: The law's columns other than params and tokens.

    Raises:
        ScalaxError: As `Fit.allocate`, or ``max_tokens`` is not positive.
    """
    best = law.allocate(flops, **given)
    if max_tokens is None or best.tokens <= float(positive("max_tokens", max_tokens)):
        return best
    tokens = float(max_tokens)
    params = _params(law.compute, flops, tokens)
    loss, intervals = None, dict.fromkeys(("params", "tokens", "loss"))
    if law.loss_law is not None:
        forecast = law.loss_law.predict(params=params, tokens=tokens, **given)
        loss = forecast.loss
        if forecast.low is not None and forecast.high is not None:
            intervals = {**intervals, "loss": [forecast.low, forecast.high]}
    limited = dataclasses.replace(
        best,
        params=params,
        tokens=tokens,
        tokens_per_param=tokens / params,
        loss=loss,
        intervals=intervals,
        batch_tokens=None,
        learning_rate=None,
        notes=[
            f"data is limited to {tokens:.4g} tokens; without the limit N* would be "
            f"{best.params:.4g} and D* {best.tokens:.4g}"
        ],
    )
    return recommend(limited, law.trained_by)


def frontier(
    law: ScalingLaw, budgets: Sequence[float], max_tokens: float | None, **given: float
) -> list[Allocation]:
    """Allocates each budget; arguments as `allocate_limited`."""
    return [allocate_limited(law, flops, max_tokens, **given) for flops in budgets]


def _params(rule: ComputeRule, flops: float, tokens: float) -> float:
    """Returns the number of parameters that spends a budget on ``tokens``."""
    return float((flops / (rule.coefficient * tokens)) ** (1 / rule.exponent))
