"""The best split when the model will also be served: training and inference compute together.

Sardana et al. 2023 (arXiv:2401.00448), section 2: a token costs 6N in training and 2N when served,
N the parameters that it passes through. It knows no hardware and no prices.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.allocation_search import search
from scalax.laws.base import Array
from scalax.predict.answers import Allocation
from scalax.predict.columns import assumptions, given_columns, positive
from scalax.predict.protocol import LossLaw
from scalax.predict.recommend import recommend

FLOPS_PER_PARAM = 2.0
"""Of one token served."""
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
    """Splits compute between size, training data and serving.

    Exactly one of:

    - ``flops``: the whole budget, of training and inference together; the loss is minimised.
    - ``target_loss``: the whole compute is minimised, the loss held there.

    Args:
        fit: A law of params and tokens.
        inference_tokens: Tokens to be served over the model's life; 0 for none.
        flops: Training and inference budget, in FLOPs.
        target_loss: The loss to reach.
        given: The law's other columns.

    Returns:
        ``flops`` is the whole; ``training_flops`` and ``inference_flops`` its parts.

    Raises:
        ScalaxError: None or both of ``flops`` and ``target_loss``, a number that is not
            positive, or a loss that the law never reaches.

    Example:
        >>> from scalax.predict.fit_result import Fit
        >>> c = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
        >>> found = allocate_with_inference(Fit("chinchilla", c), 2e12, target_loss=1.947)
        >>> f"{found.params:.3g} {found.tokens:.3g}"
        '2.42e+10 2.66e+12'
    """
    if (flops is None) == (target_loss is None):
        raise ScalaxError(
            "expected exactly one of --flops and --target-loss",
            where="--inference-tokens",
            fix="--flops is the whole budget, --target-loss the loss to reach at least compute",
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
        found = problem.solve(
            dict(zip(names, rows.T, strict=True)), (len(rows),), flops, target_loss
        )
        tail = (1 - fit.level) / 2
        for name in ("params", "tokens", "loss"):
            ends = np.nanquantile(found[name], [tail, 1 - tail])
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
                "no interval of params and tokens: the errors that this fit carries are of splits "
                "of a training budget"
            )
        elif served or flops is None:
            notes.append("the intervals of params and tokens carry sampling noise alone")
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
            f"compute is of training and of {served:g} tokens served at 2 FLOPs a parameter",
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
    return f"{fit.law} reaches a loss of {target_loss:g} nowhere, or everywhere"


@dataclasses.dataclass(frozen=True)
class _Problem:
    """One law, what it will serve, and its fixed columns."""

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
        """The best point for each law of a batch, NaN where there is none."""
        if flops is not None:
            budget = float(positive("flops", flops))

            def tokens_at(params: Array) -> Array:
                left = budget - self._serving(params)
                return np.where(left > 0, self._bought(params, np.maximum(left, 1e-300)), np.nan)
        else:
            target = float(positive("target-loss", target_loss or 0.0))

            def tokens_at(params: Array) -> Array:
                return self._tokens_for(c, params, target)

        def cost_at(log_params: Array) -> Array:
            params = np.exp(log_params)
            point = self._point(c, params, tokens_at(params))
            wanted = point["loss"] if flops is not None else np.log(point["total"])
            return np.where(np.isfinite(wanted), wanted, np.inf)

        with np.errstate(all="ignore"):
            best = np.exp(search(cost_at, shape, 0.0, _LOG_MOST))
            return self._point(c, best, tokens_at(best))

    def _point(self, c: Mapping[str, Array], params: Array, tokens: Array) -> dict[str, Array]:
        x = self.fit.form.complete({**self.given, "params": params, "tokens": tokens})
        training = self.fit.compute.flops(self.fit.form.params_computed(x), tokens)
        serving = self._serving(params)
        return {
            "params": params,
            "tokens": tokens,
            "loss": self.fit.form.loss(np, c, x),
            "training_flops": training,
            "inference_flops": serving,
            "total": training + serving,
        }

    def _computed(self, params: Array) -> Array:
        x = self.fit.form.complete({**self.given, "params": params, "tokens": np.ones_like(params)})
        return self.fit.form.params_computed(x)

    def _serving(self, params: Array) -> Array:
        return FLOPS_PER_PARAM * self._computed(params) * self.served

    def _bought(self, params: Array, flops: Array) -> Array:
        return self.fit.compute.tokens(self._computed(params), flops)

    def _tokens_for(self, c: Mapping[str, Any], params: Array, target: float) -> Array:
        """The tokens that reach a loss at a size, by bisection; NaN where none do."""

        def loss(log_tokens: Array) -> Array:
            x = {**self.given, "params": params, "tokens": np.exp(log_tokens)}
            return self.fit.form.loss(np, c, self.fit.form.complete(x))

        shape = np.shape(loss(np.zeros_like(params)))
        low, high = np.zeros(shape), np.full(shape, _LOG_MOST)
        found = (loss(low) >= target) & (loss(high) <= target)
        for _ in range(60):
            middle = (low + high) / 2
            above = loss(middle) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.where(found, np.exp((low + high) / 2), np.nan)
