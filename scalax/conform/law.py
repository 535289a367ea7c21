"""Checks a law: smooth, decreasing, recovered from its own data, with the optimal allocation.

Coefficients and columns are drawn, always the same ones, from the ranges that the law states as
typical. Nothing here is measured.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from scalax.conform.interface import says_what_it_is
from scalax.conform.report import Checklist, Line, NotMetError
from scalax.errors import ScalaxError
from scalax.fit.constraints import constrain
from scalax.fit.identifiability import identifiability
from scalax.fit.objective import Objective
from scalax.fit.solve import solve
from scalax.laws.base import ComputeRule, Law
from scalax.laws.typical_values import draw_columns, draw_truth, ranges
from scalax.registry import Entry

_TRUTHS, _ROWS = 6, 40
_FITS, _FIT_ROWS = 3, 96
_SPLITS = 3
_EXACT = 1e-4
_SEED = 20_20


def check_law(entry: Entry, law: Law) -> tuple[Line, ...]:
    """The lines of a law's report."""
    checklist = Checklist()
    if not checklist.check("says what it is", lambda: _says(entry, law)):
        return tuple(checklist.lines)
    if not checklist.check("finite over its range", lambda: _finite(law)):
        return tuple(checklist.lines)
    checklist.check("numpy and jax agree", lambda: _agree(law))
    checklist.check("differentiable over its range", lambda: _differentiable(law))
    checklist.check("falls where it says so", lambda: _falls(law))
    checklist.check("coefficients are recovered from its own data", lambda: _recovers(law))
    if {"params", "tokens"} <= set(law.columns):
        checklist.check("its allocation is the optimum", lambda: _splits(law))
    else:
        checklist.check("says that it cannot split a budget", lambda: _refuses(law))
    return tuple(checklist.lines)


def _says(entry: Entry, law: Law) -> str:
    description = says_what_it_is(entry, law, ("title", "equation", "source"))
    names = [c.name for c in law.coefficients]
    if len(set(names)) < len(names):
        raise NotMetError(f"two coefficients of one name: {', '.join(names)}")
    for name, (low, high) in ranges(law).items():
        bounds = {c.name: (c.low, c.high) for c in law.coefficients}.get(name, (low, high))
        if not bounds[0] <= low <= high <= bounds[1]:
            raise NotMetError(f"typical {name} {low:g} to {high:g} leaves its bounds {bounds}")
    if unknown := sorted(set(law.falls_with or ()) - set(law.columns)):
        raise NotMetError(f"falls_with names {', '.join(unknown)}, which is none of its columns")
    return description


def _draws(law: Law) -> list[tuple[dict[str, float], dict[str, np.ndarray]]]:
    rng = np.random.default_rng(_SEED)
    return [(draw_truth(law, rng), draw_columns(law, rng, _ROWS)) for _ in range(_TRUTHS)]


def _loss(law: Law, c: dict[str, float], x: dict[str, Any]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(law.loss(np, c, x), float)


def _finite(law: Law) -> str:
    for c, x in _draws(law):
        loss = _loss(law, c, x)
        if loss.shape != (_ROWS,):
            raise NotMetError(f"expected a loss for each of {_ROWS} rows, got shape {loss.shape}")
        if not np.all(np.isfinite(loss)):
            raise NotMetError(f"loss {_first(loss, ~np.isfinite(loss))} at {_at(c, x, loss)}")
        if not np.all(loss > 0):  # a fit takes its logarithm
            raise NotMetError(f"loss {np.min(loss):.4g}, which has no logarithm, at {c}")
    return f"{_TRUTHS * _ROWS} points"


def _first(values: np.ndarray, where: np.ndarray) -> str:
    return f"{values[where][0]:g}"


def _at(c: dict[str, float], x: dict[str, np.ndarray], loss: np.ndarray) -> str:
    row = int(np.argmin(np.isfinite(loss)))
    point = {**c, **{k: float(v[row]) for k, v in x.items()}}
    return ", ".join(f"{k}={v:.4g}" for k, v in point.items())


def _agree(law: Law) -> str:
    import jax
    import jax.numpy as jnp

    worst = 0.0
    with jax.enable_x64(True):
        traced = jax.jit(lambda c, x: law.loss(jnp, c, x))
        for c, x in _draws(law):
            plain, other = _loss(law, c, x), np.asarray(traced(c, x))
            if other.dtype != np.float64 or other.shape != plain.shape:
                raise NotMetError(f"jax gives {other.dtype} of {other.shape}, numpy {plain.shape}")
            worst = max(worst, float(np.max(np.abs(other / plain - 1))))
    if not worst <= 1e-10:
        raise NotMetError(f"they differ by {worst:.1e} of the loss: compute with xp alone")
    return f"to {worst:.0e} of the loss"


def _differentiable(law: Law) -> str:
    import jax
    import jax.numpy as jnp

    names = [c.name for c in law.coefficients]

    def loss(theta: Any, row: Any) -> Any:
        return law.loss(jnp, dict(zip(names, theta, strict=True)), row)

    def both(theta: Any, row: Any) -> Any:
        return jax.grad(loss)(theta, row), jax.hessian(loss)(theta, row)

    with jax.enable_x64(True):
        derivatives = jax.jit(jax.vmap(both, in_axes=(None, 0)))
        for c, x in _draws(law):
            point = np.asarray([c[name] for name in names])
            slope, curve = map(np.asarray, derivatives(point, x))
            if not (np.all(np.isfinite(slope)) and np.all(np.isfinite(curve))):
                raise NotMetError(f"a derivative is not finite at {_at(c, x, slope.sum(axis=1))}")
            for k, name in enumerate(names):
                step = 1e-6 * max(abs(point[k]), 1e-3)
                up, down = (_loss(law, {**c, name: point[k] + d}, x) for d in (step, -step))
                measured = (up - down) / (2 * step)
                noise = 1e-14 * np.abs(up) / step
                if not np.all(np.abs(measured - slope[:, k]) <= 1e-3 * np.abs(measured) + noise):
                    raise NotMetError(f"the derivative by {name} is not that of the loss at {c}")
    return f"{_TRUTHS * _ROWS} points, first and second derivatives finite"


def _falls(law: Law) -> str:
    names = law.columns if law.falls_with is None else law.falls_with
    for name in names:
        for c, x in _draws(law):
            for factor in (1.01, 1.5, 10.0):
                rise = _loss(law, c, {**x, name: x[name] * factor}) / _loss(law, c, x) - 1
                if not np.all(rise <= 1e-12):
                    raise NotMetError(
                        f"{factor:g} times the {name} raises the loss by {np.nanmax(rise):.1e} of "
                        "it: leave the column out of falls_with, or fix the law"
                    )
    return f"with {', '.join(names)}" if names else "claims to fall with no column"


def _recovers(law: Law) -> str:
    rng = np.random.default_rng(_SEED)
    exact, unidentified, worst = 0, 0, 0.0
    for _ in range(_FITS):
        truth, x = draw_truth(law, rng), draw_columns(law, rng, _FIT_ROWS)
        measured = _loss(law, truth, x)
        objective, weights = Objective(law, x, np.log(measured)), np.ones(_FIT_ROWS)
        constraints = constrain(law, {}, (), {})
        found = solve(objective, weights, constraints)
        if found is None:
            raise NotMetError(f"no start has a finite loss on the data of {truth}")
        misfit = float(np.max(np.abs(objective.residuals(found.theta[None]))))
        if not misfit <= _EXACT:
            raise NotMetError(
                f"the best fit misses its own data by {misfit:.1e} of the loss at {truth}"
            )
        values = objective.coefficients(found.theta[None])
        miss = {k: float(abs(values[k][0] / v - 1)) for k, v in truth.items()}
        name = max(miss, key=lambda k: miss[k])
        if miss[name] <= _EXACT:
            exact, worst = exact + 1, max(worst, miss[name])
            continue
        _, notes = identifiability(objective, found.theta, weights, constraints)
        if not any("identifiab" in note for note in [*notes, *found.notes]):
            raise NotMetError(f"{name} comes back {miss[name]:.1e} off, from the data of {truth}")
        unidentified += 1
    if not exact:
        raise NotMetError(f"its data never tells its coefficients apart ({unidentified} truths)")
    more = (
        f"; {unidentified} more, which their data do not identify, are warned of"
        if unidentified
        else ""
    )
    return f"{exact} of {_FITS} truths to {worst:.0e}{more}"


def _splits(law: Law) -> str:
    rule, checked, refused = ComputeRule(), 0, ""
    others = [k for k in law.columns if k not in ("params", "tokens", *law.assumed)]
    for c, x in _draws(law)[:_SPLITS]:
        given = {k: float(x[k][0]) for k in others}
        for flops in 6.0 * np.quantile(x["params"] * x["tokens"], [0.25, 0.75]):
            loss_at = functools.partial(_loss_at_size, law, c, float(flops), rule, given)
            sizes = np.geomspace(1.0, 1e30, 4001)
            scan = loss_at(sizes)
            scan = np.where(np.isfinite(scan), scan, np.inf)
            best = int(np.argmin(scan))
            try:
                params, tokens = (float(v) for v in law.allocate(c, float(flops), rule, given))
            except ScalaxError as error:
                params, refused = math.nan, str(error)
            if np.isnan(params):
                if 0 < best < len(sizes) - 1:
                    raise NotMetError(f"finds no split where N = {sizes[best]:.3g} is best, at {c}")
                continue
            there = law.complete({**given, "params": params, "tokens": tokens})
            spent = float(rule.flops(law.params_computed(there), tokens))
            if not abs(spent / flops - 1) <= 1e-6:
                raise NotMetError(f"N* and D* cost {spent:.6g} FLOPs of a budget of {flops:.6g}")
            near = params * np.exp(np.asarray([0.0, -0.1, -0.01, 0.01, 0.1]))
            reached, *moved = loss_at(near).tolist()
            least = min([*moved, float(scan[best])])
            if not reached <= least * (1 + 1e-9):
                raise NotMetError(
                    f"N* = {params:.4g} of {flops:.3g} FLOPs has loss {reached:.9g}; another "
                    f"size has {least:.9g}, at {c}"
                )
            checked += 1
    if not checked and refused:
        return f"no size is best at any budget, and it says so: {refused}"
    if not checked:
        raise NotMetError(
            "no budget has a best split: let allocate raise a ScalaxError that says so"
        )
    return f"{checked} budgets: no other size at the same compute has a lower loss"


def _loss_at_size(
    law: Law,
    c: dict[str, float],
    flops: float,
    rule: ComputeRule,
    given: dict[str, float],
    sizes: np.ndarray,
) -> np.ndarray:
    x = law.complete({**given, "params": sizes, "tokens": np.ones_like(sizes)})
    tokens = rule.tokens(law.params_computed(x), flops)
    return _loss(law, c, law.complete({**given, "params": sizes, "tokens": tokens}))


def _refuses(law: Law) -> str:
    try:
        law.allocate({}, 1e20, ComputeRule())
    except ScalaxError as error:
        return str(error)
    raise NotMetError("allocate answers, though the law is not of both params and tokens")
