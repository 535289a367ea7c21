"""`--law auto`: the law, or the ensemble, that forecast this sweep's own largest budgets best.

Its intervals carry the error of the form as the rollouts showed it. It never looks at anything but
the table, and says in its notes what it chose and why.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.backtest import Rollout, roll_out
from scalax.fit.calibration import ALONE_SCALE, calibrated, shares, split_error
from scalax.fit.compare import FORMS, all_members, alone, score
from scalax.fit.constraints import Constraints, constrain
from scalax.fit.cost import Cost
from scalax.fit.diagnostics import constant_columns, few_rows
from scalax.fit.ensemble import Member, forecast_prior
from scalax.fit.identifiability import conditioning
from scalax.fit.newton import minimise
from scalax.fit.objective import Objective
from scalax.fit.rows import compute_rule, evenly, ranges, weigh
from scalax.laws.base import ComputeRule, Law
from scalax.predict.ensemble_law import NAME, EnsembleMember
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.runs.diagnostics import in_bits
from scalax.runs.table import Runs

if TYPE_CHECKING:
    from scalax.fit.estimate import FitSettings

_WINS = 0.9
_FEWEST_ROWS = 3
_LEAST_SHARE = 0.005
_HOPELESS = 0.1


def fit_auto(runs: Runs, settings: FitSettings) -> Fit:
    """Chooses and fits; see `scalax.fit.estimate.fit`.

    A form and weighting with nine tenths of the shares wins and stands alone; else the members
    with at least half a hundredth each make an ensemble.
    """
    started = time.perf_counter()
    refuse_of_one_law(settings, "auto")
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows", where=runs.source, fix=f"give at least {_FEWEST_ROWS} runs"
        )
    members = all_members(FORMS, runs)
    cost = Cost(settings.cost, settings.delta)
    rollout = roll_out(runs, members, metric=settings.metric, cost=cost)
    share = shares(rollout, rollout.count)
    notes = [*runs.notes, *_reasons(rollout, share)]
    cautions = _hopeless(rollout)
    if settings.bootstrap:
        notes.append("no bootstrap: the intervals of auto come from rollouts, which hold its noise")
    if float(share.max()) >= _WINS:
        rollout = alone(rollout, int(share.argmax()))
        share = np.ones(1)
    _, error = calibrated(rollout, rollout.count, settings.level)
    kept = [k for k in np.argsort(-share, kind="stable").tolist() if share[k] >= _LEAST_SHARE]
    members = [rollout.members[k] for k in kept]
    parts = share[kept] / share[kept].sum()
    objectives = [_objective(runs, member.law, settings.metric, cost) for member in members]
    weights = [weigh(runs["flops"], member.weights) for member in members]
    thetas = [rollout.thetas[rollout.count][k] for k in kept]
    if len(rollout.label) < len(runs):
        notes.append(f"chose on an even sample of {len(rollout.label)} rows, then fitted every row")
        thetas = [_on_every_row(*each) for each in zip(objectives, thetas, weights, strict=True)]
    residuals = -sum(
        part * objective.residuals(theta[None])[0]
        for part, objective, theta in zip(parts, objectives, thetas, strict=True)
    )
    cautions += _cautions(runs, objectives[0], thetas[0], weights[0])
    if settings.metric == "loss":
        notes += in_bits(runs, residuals)
    listed = [
        EnsembleMember(member.law.name, member.weights, float(part), named(member.law, theta))
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
        settings=asdict(settings),
        source=runs.source,
        notes=[*notes, *cautions],
        cautions=cautions,
        members=listed,
        error=error,
        split_error=error_of_split(rollout, rule, settings.level),
    )


def _objective(runs: Runs, law: Law, metric: str, cost: Cost) -> Objective:
    columns = {name: np.asarray(runs[name], float) for name in law.columns}
    return Objective(law, columns, np.log(runs[metric]), cost)


def _on_every_row(objective: Objective, theta: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Theta of a member, found on a sample of the rows, brought to the minimum over all of them."""
    prior = forecast_prior(objective.law, objective.log_measured, objective.cost.delta)
    derivatives = replace(objective, prior=prior).derivatives()
    solved = minimise(derivatives, theta[None], weights[None], objective.bounds(), tolerance=1e-8)
    return solved.theta[0] if np.isfinite(solved.value[0]) else theta


def refuse_of_one_law(settings: FitSettings, name: str) -> None:
    """Raises where what is asked of one law is asked of several, chosen or weighed by ``name``."""
    for asked, value in (
        ("fixed", settings.fixed),
        ("ties", settings.ties),
        ("bounds", settings.bounds),
        ("weights", settings.weights != "flat"),
    ):
        if value:
            raise ScalaxError(
                f"{asked} is of one law under one weighting, and {name} weighs several",
                where=asked,
                fix="leave it out, or name a law",
            )


def forecast_errors(
    runs: Runs, law: Law, settings: FitSettings, held: Constraints, rule: ComputeRule
) -> tuple[ForecastError, ForecastError | None]:
    """The error models of one law's loss and N*, from rollouts of that law under its settings.

    Args:
        runs: A cleaned table.
        law: The law form.
        settings: Of the fit.
        held: What the fit may move.
        rule: How params and tokens make up FLOPs.
    """
    rollout = roll_out(
        runs,
        [Member(law, settings.weights)],
        metric=settings.metric,
        cost=Cost(settings.cost, settings.delta),
        held=held,
        held_back=False,
    )
    _, error = calibrated(rollout, rollout.count, settings.level, prior_scale=ALONE_SCALE)
    return error, error_of_split(rollout, rule, settings.level)


def error_of_split(rollout: Rollout, rule: ComputeRule, level: float) -> ForecastError | None:
    """The error model of log N*; None where a member splits no budget."""
    sizes = {}
    for cutoff, thetas in rollout.thetas.items():
        found = [
            _log_sizes(member, theta, rollout.budgets, rule)
            for member, theta in zip(rollout.members, thetas, strict=True)
        ]
        if any(each is None or not np.isfinite(each).all() for each in found):
            return None
        sizes[cutoff] = np.stack([each for each in found if each is not None])
    return split_error(rollout, sizes, level)


def _log_sizes(
    member: Member, theta: np.ndarray, budgets: np.ndarray, rule: ComputeRule
) -> np.ndarray | None:
    if set(member.law.columns) != {"params", "tokens"}:
        return None
    with np.errstate(all="ignore"):
        params, _ = member.law.allocate(named(member.law, theta), budgets, rule)
    return np.log(np.broadcast_to(params, budgets.shape))


def named(law: Law, theta: np.ndarray) -> dict[str, float]:
    """Coefficients by name from theta [coefficients]."""
    return {
        c.name: float(np.exp(value) if c.log else value)
        for c, value in zip(law.coefficients, theta, strict=True)
    }


def _cautions(
    runs: Runs, objective: Objective, theta: np.ndarray, weights: np.ndarray
) -> list[str]:
    """What the rows cannot tell of the law of the largest share, as for a law asked for by name."""
    law = objective.law
    held = constrain(law, {}, (), {})
    _, told = conditioning(objective, theta, weights, held)
    return [*few_rows(len(runs), held.free, law), *constant_columns(runs, law), *told]


def _hopeless(rollout: Rollout) -> list[str]:
    """A warning where the forecasts of hidden budgets missed by more than a tenth."""
    if not rollout.cutoffs(rollout.count):
        return []
    error = score(rollout).mean_error
    if error <= _HOPELESS:
        return []
    return [
        f"the rollouts missed by {error:.0%} in the mean: no law here describes these rows, so "
        "look at their columns and units, and trust no forecast"
    ]


def _reasons(rollout: Rollout, share: np.ndarray) -> list[str]:
    """What was chosen and why, in sentences."""
    best = int(share.argmax())
    name = f"{rollout.members[best].law.name} ({rollout.members[best].weights} weights)"
    cutoffs = rollout.cutoffs(rollout.count)
    if not cutoffs:
        return [
            f"{rollout.count} budgets leave nothing to hide: shares and interval rest on what "
            "public sweeps taught, not on these rows"
        ]
    together, single = score(rollout), score(alone(rollout, best))
    tried = f"{len(cutoffs)} rollouts, hiding budgets from {rollout.budgets[cutoffs[0]]:.3g} FLOPs"
    if share[best] >= _WINS:
        return [
            f"chose {name}: it forecast the hidden budgets best in {tried}, "
            f"mean error {single.mean_error:.2%}"
        ]
    return [
        f"chose an ensemble: no form won in {tried}; its mean error was {together.mean_error:.2%}, "
        f"that of {name}, its largest share with {share[best]:.0%}, {single.mean_error:.2%}"
    ]
