"""The split of a budget where data is limited: no more tokens than there are."""

from __future__ import annotations

import dataclasses

from scalax.laws.base import ComputeRule
from scalax.predict.answers import Allocation
from scalax.predict.columns import positive
from scalax.predict.fit_result import Fit
from scalax.predict.published_law import PublishedLaw
from scalax.predict.recommend import recommend


def allocate_limited(
    found: Fit | PublishedLaw, flops: float, max_tokens: float | None, **given: float
) -> Allocation:
    """The best split of a budget with at most so many tokens.

    Beyond the limit the rest of the budget goes to parameters: with data fixed, the loss of a law
    falls in them.

    Args:
        found: The law.
        flops: The budget.
        max_tokens: Tokens that there are; None for no limit.
        **given: The law's other columns.

    Raises:
        ScalaxError: As `Fit.allocate`, or ``max_tokens`` is not positive.
    """
    best = found.allocate(flops, **given)
    if max_tokens is None or best.tokens <= float(positive("max_tokens", max_tokens)):
        return best
    tokens = float(max_tokens)
    params = _params(found.compute, flops, tokens)
    law = found.fit if isinstance(found, PublishedLaw) else found
    loss, intervals = None, dict.fromkeys(("params", "tokens", "loss"))
    if law is not None:
        forecast = law.predict(params=params, tokens=tokens, **given)
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
    published = isinstance(found, PublishedLaw) and found.entry.hyperparameters
    return recommend(limited, found.law if published else None)


def _params(rule: ComputeRule, flops: float, tokens: float) -> float:
    """The size that spends a budget on so many tokens."""
    return float((flops / (rule.coefficient * tokens)) ** (1 / rule.exponent))
