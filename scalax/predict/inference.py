"""Allocates compute between training and inference for a model that will be served.

Follows Sardana et al. 2023 (arXiv:2401.00448), section 2: a token costs 6N FLOPs in training and
2N when served, where N counts active parameters. Hardware and prices play no part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.allocation_search import search
from scalax.laws.base import Array
from scalax.predict.answers import Allocation
from scalax.predict.columns import assumptions, given_columns, positive
from scalax.predict.protocol import LossLaw
from scalax.predict.recommend import recommend

FLOPS_PER_PARAM = 2.0
"""Inference FLOPs for one token, per active parameter."""
_MOST_SAMPLES = 400
_LOG_MOST = math.log(1e30)


def allocate_with_inference(
    fit: LossLaw,
    inference_tokens: float,
    *,
    flops: float | None = None,
    target_loss: float | None = None,
    given: Mapping[str, float] | None = None,
) -> Allocation:
    """Splits compute between model size, training data and inference.

    Give exactly one of:

    - ``flops``: minimises the loss under a total budget of training and inference.
    - ``target_loss``: minimises the total compute that reaches this loss.

    Args:
        fit: A law of params and tokens.
        inference_tokens: Tokens served over the model's life; 0 for none.
        flops: Budget of training and inference together, in FLOPs.
        target_loss: The loss to reach.
        given: The law's other columns.

    Returns:
        The allocation. Its ``flops`` is the sum of ``training_flops`` and ``inference_flops``.

    Raises:
        ScalaxError: Neither or both of ``flops`` and ``target_loss`` are given, a number is not
            positive, or the law never reaches the loss.

    Example:
        >>> from scalax.predict.fit_result import Fit
        >>> c = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
        >>> answer = allocate_with_inference(Fit("chinchilla", c), 2e12, target_loss=1.947)
        >>> f"{answer.params:.3g} {answer.tokens:.3g}"
        '2.42e+10 2.66e+12'
    """
    if (flops is None) == (target_loss is None):
        raise ScalaxError(
            "expected exactly one of --flops and --target-loss",
            where="--inference-tokens",
            fix="give --flops for a total budget, or --target-loss for a loss to reach",
        )
    fit.form.require_split()
    served = 0.0 if inference_tokens == 0 else float(positive("inference-tokens", inference_tokens))
    problem = _Problem(fit, served, given_columns(fit.form, given or {}))
    best = problem.solve(fit.coefficients or {}, (), flops, target_loss)
    if not all(math.isfinite(float(v)) for v in best.values()):
        raise ScalaxError(_unreachable(fit, flops, target_loss), where="allocate")
    intervals: dict[str, list[float] | None] = dict.fromkeys(("params", "tokens", "loss"))
    if len(fit.samples):
        rows = fit.samples
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_SAMPLES)).astype(int)]
        names = [c.name for c in fit.form.coefficients]
        sampled = dict(zip(names, rows.T, strict=True))
        splits = problem.solve(sampled, (len(rows),), flops, target_loss)
        tail = (1 - fit.level) / 2
        for name in ("params", "tokens", "loss"):
            ends = np.nanquantile(splits[name], [tail, 1 - tail])
            intervals[name] = [float(end) for end in ends]
    params, tokens = float(best["params"]), float(best["tokens"])
    notes = []
    if fit.error is not None:
        if flops is not None and served == 0:
            intervals = fit.allocate(flops, **problem.given).intervals
        elif flops is not None:
            there = fit.predict(params=params, tokens=tokens, **problem.given)
            intervals["loss"] = [there.low, there.high]
        if intervals["params"] is None:
            notes.append(
                "no interval of params and tokens: the error model of this fit covers splits of a "
                "training budget only"
            )
        elif served or flops is None:
            notes.append("the intervals of params and tokens cover sampling noise only")
    serving, training = float(best["inference_flops"]), float(best["training_flops"])
    answer = Allocation(
        flops=training + serving if flops is None else float(flops),
        params=params,
        tokens=tokens,
        tokens_per_param=tokens / params,
        loss=float(best["loss"]),
        intervals=intervals,
        compute=fit.compute.name,
        law=fit.law,
        notes=[
            f"compute includes {served:g} tokens served, at 2 FLOPs per parameter",
            *notes,
            *fit.reach(training),
            *assumptions(fit.form, problem.given),
        ],
        inference_tokens=served,
        training_flops=training,
        inference_flops=serving,
    )
    return recommend(answer, fit.trained_by)


def _unreachable(fit: LossLaw, flops: float | None, target_loss: float | None) -> str:
    if flops is not None:
        return f"{fit.law} has no best split at {flops:g} FLOPs"
    return f"{fit.law} reaches a loss of {target_loss:g} at no size, or at every size"


@dataclasses.dataclass(frozen=True)
class _Problem:
    """A law, the number of tokens served, and the columns that stay fixed."""

    fit: LossLaw
    served: float
    given: Mapping[str, float]

    def solve(
        self,
        c: Mapping[str, Array],
        shape: tuple[int, ...],
        flops: float | None,
        target_loss: float | None,
    ) -> dict[str, Array]:
        """Returns the best split for each set of coefficients, [shape]; NaN where none exists."""
        if flops is not None:
            budget = float(positive("flops", flops))

            def tokens_at(params: Array) -> Array:
                left = budget - self._inference_flops(params)
                tokens = self.fit.compute.tokens(self._computed(params), np.maximum(left, 1e-300))
                return np.where(left > 0, tokens, np.nan)
        else:
            target = float(positive("target-loss", target_loss or 0.0))

            def tokens_at(params: Array) -> Array:
                return self._tokens_for(c, params, target)

        def cost_at(log_params: Array) -> Array:
            params = np.exp(log_params)
            point = self._point(c, params, tokens_at(params))
            objective = point["loss"] if flops is not None else np.log(point["total"])
            return np.where(np.isfinite(objective), objective, np.inf)

        with np.errstate(all="ignore"):
            best = np.exp(search(cost_at, shape, 0.0, _LOG_MOST))
            return self._point(c, best, tokens_at(best))

    def _point(self, c: Mapping[str, Array], params: Array, tokens: Array) -> dict[str, Array]:
        x = self.fit.form.complete({**self.given, "params": params, "tokens": tokens})
        training = self.fit.compute.flops(self.fit.form.params_computed(x), tokens)
        serving = self._inference_flops(params)
        return {
            "params": params,
            "tokens": tokens,
            "loss": self.fit.form.loss(np, c, x),
            "training_flops": training,
            "inference_flops": serving,
            "total": training + serving,
        }

    def _computed(self, params: Array) -> Array:
        """Returns the parameters that compute on a token: the active ones."""
        x = self.fit.form.complete({**self.given, "params": params, "tokens": np.ones_like(params)})
        return self.fit.form.params_computed(x)

    def _inference_flops(self, params: Array) -> Array:
        return FLOPS_PER_PARAM * self._computed(params) * self.served

    def _tokens_for(self, c: Mapping[str, Array], params: Array, target: float) -> Array:
        """Returns the tokens that reach a loss at a size, by bisection; NaN where none do."""

        def loss(log_tokens: Array) -> Array:
            x = {**self.given, "params": params, "tokens": np.exp(log_tokens)}
            return self.fit.form.loss(np, c, self.fit.form.complete(x))

        shape = np.shape(loss(np.zeros_like(params)))
        low, high = np.zeros(shape), np.full(shape, _LOG_MOST)
        reachable = (loss(low) >= target) & (loss(high) <= target)
        for _ in range(60):
            middle = (low + high) / 2
            above = loss(middle) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.where(reachable, np.exp((low + high) / 2), np.nan)
