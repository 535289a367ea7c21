"""`law="auto"`: the law or ensemble of laws that best forecasts the table's own largest budgets.

The intervals include the error of the law form, which the backtests measure. Only the table is
used. The notes of the fit explain the choice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scalax.array_types import Float
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
"""Share from which a member is chosen alone."""
_FEWEST_ROWS = 3
_LEAST_SHARE = 0.005
"""Share below which a member is left out."""
_LARGE_ERROR = 0.1
"""Mean relative error of backtests above which a fit is not to be trusted."""


def fit_auto(runs: Runs, settings: FitSettings) -> Fit:
    """Chooses laws by backtests and fits them; see `scalax.fit.estimate.fit`.

    A member (a law and a row weighting) with a share of at least 0.9 is chosen alone. Otherwise all
    members with a share of at least 0.005 form an ensemble.

    Args:
        runs: A prepared table.
        settings: The settings of the fit.

    Raises:
        ScalaxError: Too few rows, or a setting that applies to a single law.
    """
    started = time.perf_counter()
    _require_auto(runs, settings)
    members = all_members(candidate_laws(runs, settings.metric), runs)
    along = budget_column(runs) or "flops"
    cost = Cost(settings.cost, settings.delta)
    backtest = run_backtest(runs, members, metric=settings.metric, cost=cost, along=along)
    shares = member_shares(backtest, backtest.count)
    notes = [*runs.notes, *_hidden_column_note(runs, along), *_reasons(backtest, shares)]
    cautions = _large_errors(backtest)
    if settings.bootstrap:
        notes.append("no bootstrap: the intervals of auto come from backtests, noise included")
    if float(shares.max()) >= _WINS:
        backtest = single_member(backtest, int(shares.argmax()))
        shares = np.ones(1)
    _, error = calibrate(backtest, backtest.count, settings.level)
    chosen = _fit_chosen(runs, backtest, shares, settings.metric, cost)
    if len(backtest.budget) < len(runs):
        notes.append(
            f"chose on an even sample of {len(backtest.budget)} rows, then fitted every row"
        )
    residuals = np.asarray(-sum(each.share * each.residuals() for each in chosen))
    cautions += _cautions(runs, chosen[0])
    if settings.metric == "loss":
        notes += bits_warnings(runs, residuals)
    listed = [each.to_member() for each in chosen]
    single = listed[0] if len(listed) == 1 else None
    rule = compute_rule(runs)
    return Fit(
        law=single.law if single else NAME,
        coefficients=single.coefficients if single else None,
        objective=chosen[0].value() if single else None,
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


def _require_auto(runs: Runs, settings: FitSettings) -> None:
    """Rejects settings that auto does not support, and tables with too few rows."""
    settings.reject_settings_of_one_law()
    if not settings.backtest:
        raise ScalaxError(
            "auto chooses by backtests", where="backtest", fix="leave it on, or name a law"
        )
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows (expected {_FEWEST_ROWS} or more)",
            where=runs.source,
            fix=f"give at least {_FEWEST_ROWS} runs",
        )


@dataclass(frozen=True)
class _FittedMember:
    """A chosen member, fitted to all rows.

    Attributes:
        variant: The law and its row weighting.
        share: Its share in the ensemble.
        objective: Its objective on all rows.
        weights: Its row weights, [rows].
        theta: The estimate, [coefficients].
    """

    variant: LawVariant
    share: float
    objective: Objective
    weights: Float[np.ndarray, " rows"]
    theta: Float[np.ndarray, " coefficients"]

    def residuals(self) -> Float[np.ndarray, " rows"]:
        """Returns predicted minus measured log loss, [rows]."""
        return self.objective.residuals(self.theta[None])[0]

    def value(self) -> float:
        """Returns the objective at the estimate."""
        return float(self.objective.value(self.theta[None], self.weights)[0])

    def to_member(self) -> EnsembleMember:
        """Returns the member with its coefficients by name."""
        law = self.variant.law
        return EnsembleMember(
            law_reference(law),
            self.variant.weights,
            self.share,
            coefficients_of(law, self.theta),
        )


def _fit_chosen(
    runs: Runs, backtest: Backtest, shares: np.ndarray, metric: str, cost: Cost
) -> list[_FittedMember]:
    """Returns the members with a sufficient share, by falling share, fitted to all rows.

    Where the backtest used every row, its last fits are the result.
    """
    order = np.argsort(-shares, kind="stable").tolist()
    chosen = [k for k in order if shares[k] >= _LEAST_SHARE]
    parts = shares[chosen] / shares[chosen].sum()
    fitted = []
    for k, share in zip(chosen, parts, strict=True):
        variant = backtest.members[k]
        objective = _objective(runs, variant.law, metric, cost)
        weights = row_weights(runs, variant.weights)
        theta = backtest.thetas[backtest.count][k]
        if len(backtest.budget) < len(runs):
            theta = _refine(objective, theta, weights)
        fitted.append(_FittedMember(variant, float(share), objective, weights, theta))
    return fitted


def forecast_errors(
    runs: Runs, law: Law, settings: FitSettings, constraints: Constraints
) -> tuple[ForecastError, ForecastError | None, list[str]]:
    """Returns the error models of the loss and of N* for one law, from its own backtests.

    Args:
        runs: A prepared table.
        law: The law form.
        settings: The settings of the fit.
        constraints: The constraints of the fit.

    Returns:
        The error model of the loss; the error model of log N*, or None where the law cannot split
        a budget; and notes.

    Raises:
        ScalaxError: The table has none of params, tokens and flops, or the law cannot be fitted to
            the smaller budgets.
    """
    along = budget_column(runs, law)
    if along is None:
        raise ScalaxError(
            "the table has none of params, tokens and flops",
            where=runs.source,
            fix="map one: --columns flops=THEIR_NAME",
        )
    backtest = backtest_law(runs, law, settings, constraints, along)
    _, error = calibrate(backtest, backtest.count, settings.level, prior_scale=ALONE_SCALE)
    split = split_error_model(backtest, compute_rule(runs, law), settings.level)
    return replace(error, column=along), split, _hidden_column_note(runs, along)


def backtest_law(
    runs: Runs, law: Law, settings: FitSettings, constraints: Constraints, along: str
) -> Backtest:
    """Returns the backtest of one law under the settings and constraints of its fit."""
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
    """Returns the error model of log N*; None where a member cannot split a budget."""
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


def _refine(
    objective: Objective,
    theta: Float[np.ndarray, " coefficients"],
    weights: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, " coefficients"]:
    """Minimises over all rows, from an estimate on a sample of them."""
    prior = forecast_prior(objective.law, objective.log_measured, objective.cost.delta)
    derivatives = replace(objective, prior=prior).derivatives()
    solved = minimise(derivatives, theta[None], weights[None], objective.bounds(), tolerance=1e-8)
    return solved.theta[0] if np.isfinite(solved.value[0]) else theta


def _log_sizes(
    member: LawVariant,
    theta: Float[np.ndarray, " coefficients"],
    budgets: Float[np.ndarray, " budgets"],
    rule: ComputeRule,
) -> Float[np.ndarray, " budgets"] | None:
    """Returns log N* at each budget; None for a law of other columns."""
    if set(member.law.columns) != {"params", "tokens"}:
        return None
    with np.errstate(all="ignore"):
        params, _ = member.law.allocate(coefficients_of(member.law, theta), budgets, rule)
    return np.log(np.broadcast_to(params, budgets.shape))


def _cautions(runs: Runs, member: _FittedMember) -> list[str]:
    """Returns the warnings that a fit of this member's law alone would give."""
    law = member.variant.law
    constraints = constrain(law, {}, (), {})
    _, warnings = identifiability(member.objective, member.theta, member.weights, constraints)
    return [
        *few_rows(len(runs), constraints.free, law),
        *constant_columns(runs, law),
        *warnings,
    ]


def _hidden_column_note(runs: Runs, along: str) -> list[str]:
    """Returns a note where backtests hide the largest values of a column other than flops."""
    if along == "flops" or "flops" in runs:
        return []
    return [f"backtests hide the largest {along}: the table has no flops"]


def _large_errors(backtest: Backtest) -> list[str]:
    """Returns a warning where the mean error on hidden budgets is above a tenth."""
    if not backtest.cutoffs(backtest.count):
        return []
    error = score(backtest).mean_error
    if error <= _LARGE_ERROR:
        return []
    return [
        f"the mean error of the backtests is {error:.0%}: no law describes these rows, so check "
        "their columns and units, and trust no forecast"
    ]


def _reasons(backtest: Backtest, shares: Float[np.ndarray, " members"]) -> list[str]:
    """Returns a note that explains the choice."""
    best = int(shares.argmax())
    name = f"{backtest.members[best].law.name} ({backtest.members[best].weights} weights)"
    cutoffs = backtest.cutoffs(backtest.count)
    if not cutoffs:
        return [
            f"{backtest.count} budgets are too few to hide one: the shares and the interval come "
            "from public sweeps, not from these rows"
        ]
    ensemble, single = score(backtest), score(single_member(backtest, best))
    tests = f"{len(cutoffs)} backtests of budgets from {backtest.budgets[cutoffs[0]]:.3g} up"
    if shares[best] >= _WINS:
        return [
            f"chose {name}: it forecast the hidden budgets best in {tests}, "
            f"mean error {single.mean_error:.2%}"
        ]
    return [
        f"chose an ensemble: no form was clearly best in {tests}. Its mean error was "
        f"{ensemble.mean_error:.2%}; its largest member, {name} with a share of "
        f"{shares[best]:.0%}, had {single.mean_error:.2%} alone"
    ]
