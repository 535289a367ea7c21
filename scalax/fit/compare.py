"""`scalax.compare`: ranks laws and row weightings by their forecasts of the largest budgets.

Each law is fitted as `scalax.fit` fits it: with the same rows, objective, settings and error model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ParamSpec, Protocol, cast, runtime_checkable

import numpy as np

from scalax.array_types import Float
from scalax.errors import ScalaxError
from scalax.fit.backtest import Backtest, run_backtest
from scalax.fit.calibration import ALONE_SCALE, PRIOR_SCALE, calibrate
from scalax.fit.constraints import constrain
from scalax.fit.cost import Cost
from scalax.fit.ensemble import LawVariant
from scalax.fit.keywords import takes_settings
from scalax.fit.objective import Objective
from scalax.fit.prepare import prepare_runs
from scalax.fit.rows import WEIGHTS, budget_column, row_weights
from scalax.fit.settings import ObjectiveSettings
from scalax.fit.solve import solve
from scalax.laws.base import Law
from scalax.laws.resolve import LawLike, law_reference, resolve_law
from scalax.runs.read import SCALE_COLUMNS
from scalax.runs.table import Runs
from scalax.runs.tabular import Table
from scalax.schema import parse

P = ParamSpec("P")

FORMS = ("chinchilla", "joint", "kaplan")
"""The laws of params and tokens that `compare` and ``auto`` try by default."""
ONE_VARIABLE_FORMS = {
    "params": ("power-params",),
    "tokens": ("power-tokens",),
    "flops": ("power-flops", "broken-power"),
}
"""The laws to try on a table that has only one of params, tokens and flops."""
LEVEL = 0.9
"""Nominal coverage of the intervals that are scored."""
MISS = 20.0
"""Penalty in the interval score for a miss, relative to the interval's width: 2 / (1 - level), as
in Gneiting and Raftery 2007 (doi:10.1198/016214506000001437), equation 43."""


@dataclass(frozen=True)
class Score:
    """The score of one law under one weighting, on forecasts of hidden budgets.

    Attributes:
        law: Name of the law form.
        weights: ``flat``, ``compute`` or ``flops``.
        mean_error: Mean of abs(forecast / measured - 1) over cutoffs and hidden rows.
        median_error: Median of the same errors.
        coverage: Fraction of measurements inside the 90 % interval.
        interval_score: Mean over cutoffs and hidden rows of (width + 20 x distance outside the
            interval) / measured loss; lower is better.
        cutoffs: The cutoffs, in FLOPs: each hides all budgets from this one up.
        coefficients: The estimate on all rows, as from `scalax.fit`; None for an ensemble.
    """

    law: str
    weights: str
    mean_error: float
    median_error: float
    coverage: float
    interval_score: float
    cutoffs: list[float]
    coefficients: dict[str, float] | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """Returns the score as JSON values."""
        return asdict(self)


@runtime_checkable
class _CompareFunction(Protocol[P]):
    """The signature of `compare`: a table, laws, and the settings as keywords."""

    def __call__(
        self,
        runs: Table,
        laws: Sequence[LawLike] | None = None,
        *args: P.args,
        **settings: P.kwargs,
    ) -> list[Score]: ...


def _typed(settings: Callable[P, ObjectiveSettings]) -> Callable[..., _CompareFunction[P]]:
    """Adds the settings to a function's signature, for type checkers and for ``help()``."""

    def decorate(function: Callable[..., list[Score]]) -> _CompareFunction[P]:
        fields = cast(type[ObjectiveSettings], settings)
        return cast(_CompareFunction[P], takes_settings(fields)(function))

    return decorate


@_typed(ObjectiveSettings)
def compare(runs: Table, laws: Sequence[LawLike] | None = None, **settings: Any) -> list[Score]:
    """Ranks laws by backtests: hides the largest budgets and scores the forecasts of them.

    Args:
        runs: A table, in any form that `scalax.fit` takes.
        laws: Names of law forms, laws or classes; by default chinchilla, joint and kaplan, or the
            laws of one variable where the table has only one of params, tokens and flops.
        **settings: ``metric``, ``columns``, ``drop_worst``, ``clean``, ``delta`` and ``cost``, as
            for `scalax.fit`.

    Returns:
        One score for each law and weighting, best interval score first.

    Raises:
        ScalaxError: The table or a setting is unusable, or there are fewer than three budgets.
    """
    chosen = parse(ObjectiveSettings, settings, where="compare")
    forms = None if not laws else [resolve_law(law) for law in laws]
    table = prepare_runs(
        runs,
        metric=chosen.metric,
        columns=chosen.columns,
        drop_worst=chosen.drop_worst,
        clean=chosen.clean,
        reads=None if forms is None else [name for form in forms for name in form.columns],
    )
    members = all_members(forms or candidate_laws(table, chosen.metric), table)
    along, cost = budget_column(table), Cost(chosen.cost, chosen.delta)
    if along is None:
        raise ScalaxError(
            "the table has none of params, tokens and flops, so no budget can be hidden",
            where=table.source,
            fix="map one: --columns flops=THEIR_NAME",
        )
    backtest = run_backtest(
        table, members, metric=chosen.metric, cost=cost, use_priors=False, along=along
    )
    if not backtest.cutoffs(backtest.count):
        raise ScalaxError(
            f"{backtest.count} budgets with {len(table)} rows are too few to hide one (expected 3 "
            "budgets or more, and 5 rows below the largest)",
            where=table.source,
            fix="add runs at other budgets, or fit one law: scalax fit TABLE --law chinchilla",
        )
    scores = [
        replace(
            score(single_member(backtest, k), prior_scale=ALONE_SCALE),
            coefficients=_estimate(table, member, chosen.metric, cost),
        )
        for k, member in enumerate(backtest.members)
    ]
    return sorted(scores, key=lambda s: s.interval_score)


def candidate_laws(runs: Runs, metric: str = "loss") -> list[Law]:
    """Returns the laws to try on a table: of params and tokens, or of its only variable."""
    present = [name for name in SCALE_COLUMNS if name in runs]
    names = list(FORMS)
    if len(present) == 1:
        names = list(ONE_VARIABLE_FORMS[present[0]])
        if present == ["flops"] and float(np.max(runs[metric])) <= 1:
            names.append("bounded")
    return [resolve_law(name) for name in names]


def all_members(laws: Sequence[LawLike], runs: Runs) -> list[LawVariant]:
    """Returns each law under each weighting.

    Raises:
        ScalaxError: A law is unknown, or reads a column that the table lacks.
    """
    forms = {form.name: form for form in map(resolve_law, laws)}
    for form in forms.values():
        for column in form.columns:
            runs[column]  # raises if the column is missing
    return [LawVariant(form, weights) for form in forms.values() for weights in WEIGHTS]


def coefficients_of(law: Law, theta: Float[np.ndarray, " coefficients"]) -> dict[str, float]:
    """Returns the coefficients by name, in their own units, from theta [coefficients]."""
    return {
        c.name: float(np.exp(value) if c.log else value)
        for c, value in zip(law.coefficients, theta, strict=True)
    }


def single_member(backtest: Backtest, member: int) -> Backtest:
    """Returns the part of a backtest that belongs to one member, given by its index."""
    return replace(
        backtest,
        members=[backtest.members[member]],
        forecasts={k: each[[member]] for k, each in backtest.forecasts.items()},
        thetas={k: [each[member]] for k, each in backtest.thetas.items()},
    )


def score(backtest: Backtest, *, prior_scale: float = PRIOR_SCALE) -> Score:
    """Returns the score of the ensemble of a backtest's members.

    The shares and the width of the interval at a cutoff depend only on earlier cutoffs.

    Args:
        backtest: Forecasts of every member.
        prior_scale: Factor on the error model without backtests; see `calibrate`.
    """
    errors, inside, scores = [], [], []
    cutoffs = backtest.cutoffs(backtest.count)
    for cutoff in cutoffs:
        ensemble, error = calibrate(backtest, cutoff, LEVEL, prior_scale=prior_scale)
        rows = backtest.budget >= cutoff
        measured = np.exp(backtest.log_measured[rows])
        forecast = np.exp(ensemble.log_loss[rows])
        low, high = error.interval(forecast, backtest.scale[rows], ensemble.spread[rows])
        outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
        errors.append(np.abs(forecast / measured - 1))
        inside.append(outside == 0)
        scores.append((high - low + MISS * outside) / measured)
    every = np.concatenate(errors)
    single = backtest.members[0] if len(backtest.members) == 1 else None
    return Score(
        law=law_reference(single.law) if single else "ensemble",
        weights=single.weights if single else "all",
        mean_error=float(every.mean()),
        median_error=float(np.median(every)),
        coverage=float(np.concatenate(inside).mean()),
        interval_score=float(np.concatenate(scores).mean()),
        cutoffs=[float(backtest.budgets[cutoff]) for cutoff in cutoffs],
    )


def _estimate(runs: Runs, member: LawVariant, metric: str, cost: Cost) -> dict[str, float] | None:
    """Returns the estimate on all rows by the solver of `scalax.fit`; None if it is not finite."""
    columns = {name: np.asarray(runs[name], float) for name in member.law.columns}
    objective = Objective(member.law, columns, np.log(runs[metric]), cost)
    weights = row_weights(runs, member.weights)
    solution = solve(objective, weights, constrain(member.law, {}, (), {}))
    return None if solution is None else coefficients_of(member.law, solution.theta)
