"""`law="auto"`: the law, or the ensemble, that best forecast this table's own largest budgets.

Its intervals contain the error of the form as the backtests measured it. It uses nothing but the
table, and its notes say what it chose and why.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.backtest import Backtest, run_backtest
from scalax.fit.calibration import ALONE_SCALE, calibrate, calibrate_split, member_shares
from scalax.fit.compare import (
    all_members,
    candidate_laws,
    coefficients_of,
    score,
    single_member,
)
from scalax.fit.constraints import Constraints, constrain
from scalax.fit.cost import Cost
from scalax.fit.diagnostics import constant_columns, few_rows
from scalax.fit.ensemble import LawVariant, forecast_prior
from scalax.fit.identifiability import identifiability
from scalax.fit.newton import minimise
from scalax.fit.objective import Objective
from scalax.fit.rows import budget_column, compute_rule, evenly, ranges, row_weights
from scalax.laws.base import ComputeRule, Law
from scalax.laws.resolve import law_reference
from scalax.predict.ensemble_law import NAME, EnsembleMember
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.runs.diagnostics import bits_warnings
from scalax.runs.table import Runs

if TYPE_CHECKING:
    from scalax.fit.settings import FitSettings

_WINS = 0.9
_FEWEST_ROWS = 3
_LEAST_SHARE = 0.005
_HOPELESS = 0.1


def fit_auto(runs: Runs, settings: FitSettings) -> Fit:
    """Chooses laws by backtests and fits them; see `scalax.fit.estimate.fit`.

    A law and weighting with a share of 0.9 is chosen alone. Otherwise the members with a share of
    at least 0.005 form an ensemble.

    Args:
        runs: A prepared table.
        settings: The settings of the fit.

    Raises:
        ScalaxError: Too few rows, or a setting that applies to a single law.
    """
    started = time.perf_counter()
    settings.reject_settings_of_one_law()
    if not settings.backtest:
        raise ScalaxError(
            "auto chooses by backtests", where="backtest", fix="leave it on, or name a law"
        )
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows", where=runs.source, fix=f"give at least {_FEWEST_ROWS} runs"
        )
    members = all_members(candidate_laws(runs, settings.metric), runs)
    along = budget_column(runs) or "flops"
    cost = Cost(settings.cost, settings.delta)
    backtest = run_backtest(runs, members, metric=settings.metric, cost=cost, along=along)
    share = member_shares(backtest, backtest.count)
    notes = [*runs.notes, *_hidden_by(runs, along), *_reasons(backtest, share)]
    cautions = _hopeless(backtest)
    if settings.bootstrap:
        notes.append("no bootstrap: the intervals of auto come from backtests, noise included")
    if float(share.max()) >= _WINS:
        backtest = single_member(backtest, int(share.argmax()))
        share = np.ones(1)
    _, error = calibrate(backtest, backtest.count, settings.level)
    chosen = [k for k in np.argsort(-share, kind="stable").tolist() if share[k] >= _LEAST_SHARE]
    members = [backtest.members[k] for k in chosen]
    parts = share[chosen] / share[chosen].sum()
    objectives = [_objective(runs, member.law, settings.metric, cost) for member in members]
    weights = [row_weights(runs, member.weights) for member in members]
    thetas = [backtest.thetas[backtest.count][k] for k in chosen]
    if len(backtest.label) < len(runs):
        notes.append(
            f"chose on an even sample of {len(backtest.label)} rows, then fitted every row"
        )
        thetas = [_on_every_row(*each) for each in zip(objectives, thetas, weights, strict=True)]
    residuals = -sum(
        part * objective.residuals(theta[None])[0]
        for part, objective, theta in zip(parts, objectives, thetas, strict=True)
    )
    cautions += _cautions(runs, objectives[0], thetas[0], weights[0])
    if settings.metric == "loss":
        notes += bits_warnings(runs, residuals)
    listed = [
        EnsembleMember(
            law_reference(member.law),
            member.weights,
            float(part),
            coefficients_of(member.law, theta),
        )
        for member, part, theta in zip(members, parts, thetas, strict=True)
    ]
    one = listed[0] if len(listed) == 1 else None
    rule = compute_rule(runs)
    return Fit(
        law=one.law if one else NAME,
        coefficients=one.coefficients if one else None,
        objective=float(objectives[0].value(thetas[0][None], weights[0])[0]) if one else None,
        rows=len(runs),
        seconds=time.perf_counter() - started,
        level=settings.level,
        compute=rule,
        ranges=ranges(runs),
        residuals=evenly(np.sort(residuals)),
        settings=settings.to_json(),
        source=runs.source,
        notes=[*notes, *cautions],
        cautions=cautions,
        members=listed,
        error=replace(error, column=along),
        split_error=split_error_model(backtest, rule, settings.level),
    )


def forecast_errors(
    runs: Runs, law: Law, settings: FitSettings, constraints: Constraints
) -> tuple[ForecastError, ForecastError | None, list[str]]:
    """Returns the error models of one law's loss and N*, from backtests of the same estimator.

    Args:
        runs: A prepared table.
        law: The law form.
        settings: The settings of the fit.
        constraints: The constraints of the fit.

    Returns:
        The error model of the loss; that of log N*, None where the law splits no budget; notes.

    Raises:
        ScalaxError: The table has none of params, tokens and flops, or the law cannot be fitted to
            the smaller budgets.
    """
    along = budget_column(runs, law)
    if along is None:
        raise ScalaxError("the table has none of params, tokens and flops")
    backtest = backtest_law(runs, law, settings, constraints, along)
    _, error = calibrate(backtest, backtest.count, settings.level, prior_scale=ALONE_SCALE)
    split = split_error_model(backtest, compute_rule(runs, law), settings.level)
    return replace(error, column=along), split, _hidden_by(runs, along)


def backtest_law(
    runs: Runs, law: Law, settings: FitSettings, constraints: Constraints, along: str
) -> Backtest:
    """Returns the backtest of one law, fitted as `scalax.fit` fits it with these settings."""
    return run_backtest(
        runs,
        [LawVariant(law, settings.weights)],
        metric=settings.metric,
        cost=Cost(settings.cost, settings.delta),
        constraints=constraints,
        use_priors=False,
        along=along,
    )


def split_error_model(backtest: Backtest, rule: ComputeRule, level: float) -> ForecastError | None:
    """Returns the error model of log N*; None where a member splits no budget."""
    sizes = {}
    for cutoff, thetas in backtest.thetas.items():
        log_sizes = [
            _log_sizes(member, theta, backtest.budgets, rule)
            for member, theta in zip(backtest.members, thetas, strict=True)
        ]
        if any(each is None or not np.isfinite(each).all() for each in log_sizes):
            return None
        sizes[cutoff] = np.stack([each for each in log_sizes if each is not None])
    return calibrate_split(backtest, sizes, level)


def _objective(runs: Runs, law: Law, metric: str, cost: Cost) -> Objective:
    columns = {name: np.asarray(runs[name], float) for name in law.columns}
    return Objective(law, columns, np.log(runs[metric]), cost)


def _on_every_row(objective: Objective, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Moves theta, fitted to a sample of the rows, to the minimum over all rows."""
    prior = forecast_prior(objective.law, objective.log_measured, objective.cost.delta)
    derivatives = replace(objective, prior=prior).derivatives()
    solved = minimise(derivatives, theta[None], weights[None], objective.bounds(), tolerance=1e-8)
    return solved.theta[0] if np.isfinite(solved.value[0]) else theta


def _log_sizes(
    member: LawVariant, theta: np.ndarray, budgets: np.ndarray, rule: ComputeRule
) -> np.ndarray | None:
    if set(member.law.columns) != {"params", "tokens"}:
        return None
    with np.errstate(all="ignore"):
        params, _ = member.law.allocate(coefficients_of(member.law, theta), budgets, rule)
    return np.log(np.broadcast_to(params, budgets.shape))


def _cautions(
    runs: Runs, objective: Objective, theta: np.ndarray, weights: np.ndarray
) -> list[str]:
    """Returns the warnings about the law of the largest share, as for a law that is named."""
    law = objective.law
    constraints = constrain(law, {}, (), {})
    _, warnings = identifiability(objective, theta, weights, constraints)
    return [
        *few_rows(len(runs), constraints.free, law),
        *constant_columns(runs, law),
        *warnings,
    ]


def _hidden_by(runs: Runs, along: str) -> list[str]:
    """Returns a note where backtests hide the largest values of another column than flops."""
    if along == "flops" or "flops" in runs:
        return []
    return [f"backtests hide the largest {along}: the table has no flops"]


def _hopeless(backtest: Backtest) -> list[str]:
    """Returns a warning where the forecasts of hidden budgets missed by more than a tenth."""
    if not backtest.cutoffs(backtest.count):
        return []
    error = score(backtest).mean_error
    if error <= _HOPELESS:
        return []
    return [
        f"the backtests missed by {error:.0%} in the mean: no law here describes these rows, so "
        "look at their columns and units, and trust no forecast"
    ]


def _reasons(backtest: Backtest, share: np.ndarray) -> list[str]:
    """Returns sentences on what was chosen and why."""
    best = int(share.argmax())
    name = f"{backtest.members[best].law.name} ({backtest.members[best].weights} weights)"
    cutoffs = backtest.cutoffs(backtest.count)
    if not cutoffs:
        return [
            f"{backtest.count} budgets leave nothing to hide: shares and interval were learned on "
            "public sweeps, not on these rows"
        ]
    together, single = score(backtest), score(single_member(backtest, best))
    tried = f"{len(cutoffs)} backtests, hiding budgets from {backtest.budgets[cutoffs[0]]:.3g}"
    if share[best] >= _WINS:
        return [
            f"chose {name}: it forecast the hidden budgets best in {tried}, "
            f"mean error {single.mean_error:.2%}"
        ]
    return [
        f"chose an ensemble: no form won in {tried}; its mean error was {together.mean_error:.2%}, "
        f"that of {name}, its largest share with {share[best]:.0%}, {single.mean_error:.2%}"
    ]
