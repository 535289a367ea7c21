"""`compare`: which law, under which weighting, forecasts this sweep's own largest budgets best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from scalax import registry
from scalax.errors import ScalaxError
from scalax.fit.backtest import Rollout, roll_out
from scalax.fit.calibration import calibrated
from scalax.fit.cost import Cost
from scalax.fit.ensemble import Member
from scalax.fit.rows import WEIGHTS
from scalax.runs.clean import clean
from scalax.runs.read import check, read_runs
from scalax.runs.table import Runs

FORMS = ("chinchilla", "joint", "kaplan")
"""The laws of params and tokens that are compared, and joined by ``auto``, unless others are
named."""
LEVEL = 0.9
MISS = 20.0
"""What a distance outside the interval counts against its width: 2 / (1 - level), as in Gneiting
and Raftery 2007 (doi:10.1198/016214506000001437), equation 43."""


@dataclass(frozen=True)
class Score:
    """How one law under one weighting did when it was asked to forecast hidden budgets.

    Attributes:
        law: Name of the law form.
        weights: ``flat``, ``compute`` or ``flops``.
        mean_error: Mean of abs(forecast / measured - 1) over cutoffs and hidden rows.
        median_error: Median of it.
        coverage: Share of measurements inside the 90 % interval.
        interval_score: Mean of the width plus 20 times the distance outside, over the loss.
        cutoffs: The budgets hidden, in FLOPs: at each step all from one of these up.
    """

    law: str
    weights: str
    mean_error: float
    median_error: float
    coverage: float
    interval_score: float
    cutoffs: list[float]

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


def compare(
    runs: Runs | str,
    laws: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    metric: str = "loss",
    drop_worst: int = 0,
    delta: float = 1e-3,
) -> list[Score]:
    """Hides the largest budgets step by step, and ranks laws by their forecasts of them.

    Args:
        runs: A table from `read_runs`, or the path of one.
        laws: Names of law forms; by default chinchilla, joint and kaplan.
        columns: Our column names to theirs, where ``runs`` is a path.
        metric: The column to fit.
        drop_worst: How many rows of the highest metric to drop.
        delta: Of the Huber cost on the log residual.

    Returns:
        One score for each law and weighting, best interval score first.

    Raises:
        ScalaxError: The table is unusable, or has fewer than three budgets.
    """
    table = read_runs(runs, columns, metric) if not isinstance(runs, Runs) else check(runs, metric)
    table = clean(table, metric=metric, drop_worst=drop_worst)
    rollout = roll_out(
        table, all_members(laws or FORMS, table), metric=metric, cost=Cost("huber", delta)
    )
    if not rollout.cutoffs(rollout.count):
        raise ScalaxError(
            f"{rollout.count} budgets and {len(table)} rows leave nothing to hide",
            where=table.source,
            fix="give runs at three budgets or more",
        )
    scores = [score(alone(rollout, k)) for k in range(len(rollout.members))]
    return sorted(scores, key=lambda s: s.interval_score)


def all_members(laws: Sequence[str], runs: Runs) -> list[Member]:
    """Each law under each weighting.

    Raises:
        ScalaxError: A law is unknown, or reads a column that the table lacks.
    """
    found = []
    for name in dict.fromkeys(laws):
        law = registry.get("law", name)
        for column in law.columns:
            runs[column]
        found += [Member(law, weights) for weights in WEIGHTS]
    return found


def alone(rollout: Rollout, member: int) -> Rollout:
    """The rollout of one member."""
    return replace(
        rollout,
        members=[rollout.members[member]],
        forecasts={k: each[[member]] for k, each in rollout.forecasts.items()},
        thetas={k: [each[member]] for k, each in rollout.thetas.items()},
    )


def score(rollout: Rollout) -> Score:
    """The score of a rollout's members together: shares and scale from earlier cutoffs only."""
    errors, inside, scores = [], [], []
    hidden = rollout.cutoffs(rollout.count)
    for cutoff in hidden:
        judged, error = calibrated(rollout, cutoff, LEVEL)
        rows = rollout.label >= cutoff
        measured = np.exp(rollout.log_measured[rows])
        forecast = np.exp(judged.log_loss[rows])
        low, high = error.interval(forecast, rollout.flops[rows], judged.spread[rows])
        outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
        errors.append(np.abs(forecast / measured - 1))
        inside.append(outside == 0)
        scores.append((high - low + MISS * outside) / measured)
    every = np.concatenate(errors)
    one = rollout.members[0] if len(rollout.members) == 1 else None
    return Score(
        law=one.law.name if one else "ensemble",
        weights=one.weights if one else "all",
        mean_error=float(every.mean()),
        median_error=float(np.median(every)),
        coverage=float(np.concatenate(inside).mean()),
        interval_score=float(np.concatenate(scores).mean()),
        cutoffs=[float(rollout.budgets[cutoff]) for cutoff in hidden],
    )
