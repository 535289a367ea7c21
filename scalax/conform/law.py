"""Checks a law: finite, smooth, decreasing, identifiable, with the optimal allocation.

Coefficients and columns are drawn with a fixed seed from the ranges in the law's ``typical``. No
measured data is used.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from scalax.conform.interface import check_attributes
from scalax.conform.report import CheckFailedError, Checklist, Line
from scalax.errors import ScalaxError
from scalax.fit.constraints import constrain
from scalax.fit.identifiability import identifiability
from scalax.fit.objective import Objective
from scalax.fit.solve import solve
from scalax.laws.base import ComputeRule, Law
from scalax.laws.typical_values import draw_columns, draw_truth, ranges
from scalax.registry import Entry

_DRAWS, _ROWS = 6, 40
_FITS, _FIT_ROWS = 3, 96
_ALLOCATION_DRAWS = 3
_FIT_TOLERANCE = 1e-4
_SEED = 20_20


def check_law(entry: Entry, law: Law) -> tuple[Line, ...]:
    """Returns the lines of a law's report."""
    checklist = Checklist()
    if not checklist.check("declares its attributes", lambda: _attributes(entry, law)):
        return tuple(checklist.lines)
    if not checklist.check("loss is finite and positive", lambda: _finite(law)):
        return tuple(checklist.lines)
    checklist.check("numpy and jax give the same loss", lambda: _same_loss(law))
    checklist.check("loss is differentiable", lambda: _differentiable(law))
    checklist.check("loss falls with the columns of falls_with", lambda: _falls(law))
    checklist.check("a fit recovers its coefficients", lambda: _recovers(law))
    if {"params", "tokens"} <= set(law.columns):
        checklist.check("allocate returns the optimum", lambda: _allocates(law))
    else:
        checklist.check("allocate rejects every budget", lambda: _rejects_budgets(law))
    return tuple(checklist.lines)


def _attributes(entry: Entry, law: Law) -> str:
    description = check_attributes(entry, law, ("title", "equation", "source"))
    names = [c.name for c in law.coefficients]
    if len(set(names)) < len(names):
        raise CheckFailedError(
            f"two coefficients have the same name: {', '.join(names)}", fix="rename one of them"
        )
    for name, (low, high) in ranges(law).items():
        bounds = {c.name: (c.low, c.high) for c in law.coefficients}.get(name, (low, high))
        if not bounds[0] <= low <= high <= bounds[1]:
            raise CheckFailedError(
                f"the typical range of {name} exceeds its bounds (expected it within "
                f"{bounds[0]:g} to {bounds[1]:g}, got {low:g} to {high:g})",
                fix=f"change typical or the bounds of {name}",
            )
    if unknown := sorted(set(law.falls_with or ()) - set(law.columns)):
        raise CheckFailedError(
            f"falls_with names unknown columns (expected some of {', '.join(law.columns)}, got "
            f"{', '.join(unknown)})",
            fix="correct falls_with, or add them to columns",
        )
    return description


def _draws(law: Law) -> list[tuple[dict[str, float], dict[str, np.ndarray]]]:
    rng = np.random.default_rng(_SEED)
    return [(draw_truth(law, rng), draw_columns(law, rng, _ROWS)) for _ in range(_DRAWS)]


def _loss(law: Law, c: dict[str, float], x: dict[str, Any]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(law.loss(np, c, x), float)


def _finite(law: Law) -> str:
    for c, x in _draws(law):
        loss = _loss(law, c, x)
        if loss.shape != (_ROWS,):
            raise CheckFailedError(
                f"expected a loss for each of {_ROWS} rows, got shape {loss.shape}",
                fix="compute loss elementwise over the columns",
            )
        if not np.all(np.isfinite(loss)):
            row = int(np.argmin(np.isfinite(loss)))
            raise CheckFailedError(
                f"expected a finite loss, got loss {loss[row]:g} at {_point(c, x, row)}",
                fix="correct loss, or narrow typical",
            )
        if not np.all(loss > 0):  # a fit takes its logarithm
            row = int(np.argmin(loss))
            raise CheckFailedError(
                f"expected a positive loss, got loss {loss[row]:.4g} at {_point(c, x, row)}",
                fix="correct loss, or narrow typical",
            )
    return f"at {_DRAWS * _ROWS} points"


def _point(c: dict[str, float], x: dict[str, np.ndarray], row: int) -> str:
    point = {**c, **{k: float(v[row]) for k, v in x.items()}}
    return ", ".join(f"{k}={v:.4g}" for k, v in point.items())


def _text(c: dict[str, float]) -> str:
    return _point(c, {}, 0)


def _same_loss(law: Law) -> str:
    import jax
    import jax.numpy as jnp

    worst = 0.0
    with jax.enable_x64(True):
        traced = jax.jit(lambda c, x: law.loss(jnp, c, x))
        for c, x in _draws(law):
            expected, actual = _loss(law, c, x), np.asarray(traced(c, x))
            if actual.dtype != np.float64 or actual.shape != expected.shape:
                raise CheckFailedError(
                    f"expected float64 {list(expected.shape)} from jax as from numpy, got "
                    f"{actual.dtype} {list(actual.shape)}",
                    fix="compute only with xp, without casts",
                )
            worst = max(worst, float(np.max(np.abs(actual / expected - 1))))
    if not worst <= 1e-10:
        raise CheckFailedError(
            f"expected a relative difference of at most 1e-10, got {worst:.1e}",
            fix="compute only with xp",
        )
    return f"relative difference at most {worst:.0e}"


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
            theta = np.asarray([c[name] for name in names])
            first, second = map(np.asarray, derivatives(theta, x))
            finite = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=(1, 2))
            if not np.all(finite):
                raise CheckFailedError(
                    f"a derivative is not finite at {_point(c, x, int(np.argmin(finite)))}",
                    fix="avoid roots, logarithms and powers at 0 in loss",
                )
            for k, name in enumerate(names):
                step = 1e-6 * max(abs(theta[k]), 1e-3)
                up, down = (_loss(law, {**c, name: theta[k] + d}, x) for d in (step, -step))
                measured = (up - down) / (2 * step)
                noise = 1e-14 * np.abs(up) / step
                if not np.all(np.abs(measured - first[:, k]) <= 1e-3 * np.abs(measured) + noise):
                    raise CheckFailedError(
                        f"the derivative by {name} differs from finite differences at {_text(c)}",
                        fix="remove rounding, branches and stop_gradient from loss",
                    )
    return f"first and second derivatives are finite at {_DRAWS * _ROWS} points"


def _falls(law: Law) -> str:
    names = law.columns if law.falls_with is None else law.falls_with
    for name in names:
        for c, x in _draws(law):
            for factor in (1.01, 1.5, 10.0):
                rise = _loss(law, c, {**x, name: x[name] * factor}) / _loss(law, c, x) - 1
                if not np.all(rise <= 1e-12):
                    raise CheckFailedError(
                        f"expected the loss to fall with {name}, but {factor:g} times the {name} "
                        f"raises the loss by up to {np.nanmax(rise):.1e} of its value",
                        fix=f"correct loss, or set falls_with without {name}",
                    )
    return f"falls with {', '.join(names)}" if names else "falls_with names no column"


def _recovers(law: Law) -> str:
    rng = np.random.default_rng(_SEED)
    exact, unidentified, worst = 0, 0, 0.0
    for _ in range(_FITS):
        truth, x = draw_truth(law, rng), draw_columns(law, rng, _FIT_ROWS)
        objective = Objective(law, x, np.log(_loss(law, truth, x)))
        weights, constraints = np.ones(_FIT_ROWS), constrain(law, {}, (), {})
        solution = solve(objective, weights, constraints)
        if solution is None:
            raise CheckFailedError(
                f"no starting point has a finite loss on rows generated at {_text(truth)}",
                fix="correct basis or the coefficients' starting values",
            )
        residual = float(np.max(np.abs(objective.residuals(solution.theta[None]))))
        if not residual <= _FIT_TOLERANCE:
            raise CheckFailedError(
                f"the best fit to rows generated at {_text(truth)} has an error of "
                f"{residual:.1e} of the loss (expected at most {_FIT_TOLERANCE:g})",
                fix="make basis match loss, or widen the coefficients' starting values",
            )
        values = objective.coefficients(solution.theta[None])
        errors = {k: float(abs(values[k][0] / v - 1)) for k, v in truth.items()}
        name = max(errors, key=lambda k: errors[k])
        if errors[name] <= _FIT_TOLERANCE:
            exact, worst = exact + 1, max(worst, errors[name])
            continue
        _, notes = identifiability(objective, solution.theta, weights, constraints)
        if not any("identifiab" in note for note in [*notes, *solution.notes]):
            raise CheckFailedError(
                f"expected {name} = {truth[name]:.6g}, the fit has {name} = "
                f"{float(values[name][0]):.6g}, on rows generated at {_text(truth)}",
                fix="reparametrise, so that only one value of each coefficient fits the rows",
            )
        unidentified += 1
    if not exact:
        raise CheckFailedError(
            f"the rows identify the coefficients in none of {unidentified} fits",
            fix="remove a coefficient that another one can replace, or widen typical",
        )
    skipped = f"; {unidentified} others warn that they are not identified" if unidentified else ""
    return f"in {exact} of {_FITS} fits, relative error at most {worst:.0e}{skipped}"


def _allocates(law: Law) -> str:
    rule, checked, refusal = ComputeRule(), 0, ""
    others = [k for k in law.columns if k not in ("params", "tokens", *law.assumed)]
    for c, x in _draws(law)[:_ALLOCATION_DRAWS]:
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
                params, refusal = math.nan, str(error)
            if np.isnan(params):
                if 0 < best < len(sizes) - 1:
                    raise CheckFailedError(
                        f"allocate finds no optimum, but N = {sizes[best]:.3g} is optimal for "
                        f"{flops:.3g} FLOPs at {_text(c)}",
                        fix="correct allocate, or remove it: a search then finds the optimum",
                    )
                continue
            optimum = law.complete({**given, "params": params, "tokens": tokens})
            spent = float(rule.flops(law.params_computed(optimum), tokens))
            if not abs(spent / flops - 1) <= 1e-6:
                raise CheckFailedError(
                    f"expected N* and D* that cost the budget of {flops:.6g} FLOPs, got "
                    f"{spent:.6g} FLOPs",
                    fix="return compute.tokens(params, flops) as the tokens",
                )
            nearby = params * np.exp(np.asarray([0.0, -0.1, -0.01, 0.01, 0.1]))
            reached, *neighbours = loss_at(nearby).tolist()
            least = min([*neighbours, float(scan[best])])
            if not reached <= least * (1 + 1e-9):
                raise CheckFailedError(
                    f"for {flops:.3g} FLOPs allocate returns N* = {params:.4g} with loss "
                    f"{reached:.9g}, but another size has {least:.9g}, at {_text(c)}",
                    fix="correct allocate, or remove it: a search then finds the optimum",
                )
            checked += 1
    if not checked and refusal:
        return f"no budget has an optimum, and allocate reports it: {refusal}"
    if not checked:
        raise CheckFailedError(
            "no budget has an optimum, but allocate raises no error",
            fix="let allocate raise a ScalaxError that states why",
        )
    return f"for {checked} budgets no other size has a lower loss"


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


def _rejects_budgets(law: Law) -> str:
    try:
        law.allocate({}, 1e20, ComputeRule())
    except ScalaxError as error:
        return str(error)
    raise CheckFailedError(
        f"allocate returns a split, but the law's columns are {', '.join(law.columns)} (a split "
        "requires params and tokens)",
        fix="remove allocate",
    )
