"""Rollouts: hide the largest budgets step by step, fit on the rest, forecast the hidden ones.

What a law errs by inside its own data is the one honest guide to what it will err by beyond them.
It makes forecasts; `calibrate` judges them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.budgets import budget_of
from scalax.fit.constraints import Constraints
from scalax.fit.cost import Cost
from scalax.fit.ensemble import Member, fit_members, log_forecast
from scalax.runs.table import Runs

_FEWEST_ROWS = 5
_MOST_CUTOFFS = 9
_MOST_ROWS = 2000


@dataclass(frozen=True)
class Rollout:
    """Forecasts of every member at every cutoff.

    Attributes:
        members: What was fitted.
        label: The budget of each row, [rows].
        budgets: Compute of each budget, the median of its rows, [budgets].
        reach: Largest compute in each budget, [budgets].
        flops: The column along which budgets are hidden, [rows].
        log_measured: Logarithm of the measured metric, [rows].
        forecasts: ``{cutoff: [members, rows]}``, logarithms, by the fit on budgets below the
            cutoff; the last cutoff hides nothing.
        thetas: ``{cutoff: theta of each member}``.
    """

    members: list[Member]
    label: np.ndarray
    budgets: np.ndarray
    reach: np.ndarray
    flops: np.ndarray
    log_measured: np.ndarray
    forecasts: dict[int, np.ndarray]
    thetas: dict[int, list[np.ndarray]]

    @property
    def count(self) -> int:
        """How many budgets there are; also the cutoff that hides nothing."""
        return len(self.budgets)

    def cutoffs(self, before: int) -> list[int]:
        """The cutoffs that leave a budget to forecast below one given, rising."""
        return [cutoff for cutoff in self.forecasts if cutoff < before]


def roll_out(
    runs: Runs,
    members: list[Member],
    *,
    metric: str,
    cost: Cost,
    held: Constraints | None = None,
    held_back: bool = True,
    along: str = "flops",
) -> Rollout:
    """Fits every member to the table less its largest budgets, one more of them each time.

    At least two budgets and five rows stay; the last eight cutoffs at most are tried. Of a table
    of more than two thousand rows an even sample stands for it.

    Args:
        runs: A cleaned table.
        members: What to fit. One whose law is not finite on the rows, or forecasts what is not,
            is left out.
        metric: The column fitted.
        cost: Of a log residual.
        held: What the fits may move, where all members are of one law.
        held_back: Whether the priors of `scalax.fit.ensemble` apply.
        along: The column whose largest values are hidden: flops where the table has it.

    Raises:
        ScalaxError: No member can be fitted.
    """
    if len(runs) > _MOST_ROWS:
        order = np.argsort(runs[along], kind="stable")
        runs = runs.where(order[np.linspace(0, len(runs) - 1, _MOST_ROWS).round().astype(int)])
    names = {along, *(name for member in members for name in member.law.columns)}
    columns = {name: np.asarray(runs[name], float) for name in names}
    columns.setdefault("flops", runs["flops"] if "flops" in runs else runs[along])
    log_measured = np.log(runs[metric])
    scale = columns[along]
    label = budget_of(scale)
    count = int(label.max()) + 1
    cutoffs = [k for k in range(2, count) if np.sum(label < k) >= _FEWEST_ROWS]
    thetas: dict[int, list[np.ndarray | None]] = {}
    for cutoff in [*cutoffs[-_MOST_CUTOFFS + 1 :], count]:
        seen = label < cutoff
        thetas[cutoff] = fit_members(
            members,
            {name: values[seen] for name, values in columns.items()},
            log_measured[seen],
            cost=cost,
            held=held,
            held_back=held_back,
        )
    kept, forecasts = _finite(members, thetas, columns)
    if not kept:
        raise ScalaxError("no law is finite on these rows", where=runs.source)
    return Rollout(
        members=[members[k] for k in kept],
        label=label,
        budgets=np.asarray([np.median(scale[label == j]) for j in range(count)]),
        reach=np.asarray([np.max(scale[label == j]) for j in range(count)]),
        flops=scale,
        log_measured=log_measured,
        forecasts=forecasts,
        thetas={
            cutoff: [theta for k in kept if (theta := found[k]) is not None]
            for cutoff, found in thetas.items()
        },
    )


def _finite(
    members: list[Member],
    thetas: dict[int, list[np.ndarray | None]],
    columns: dict[str, np.ndarray],
) -> tuple[list[int], dict[int, np.ndarray]]:
    """The members whose every forecast is finite, and the forecasts of those by cutoff."""
    rows = len(columns["flops"])
    forecasts = {
        cutoff: np.stack(
            [
                np.full(rows, np.nan) if theta is None else log_forecast(m.law, theta, columns)
                for m, theta in zip(members, found, strict=True)
            ]
        )
        for cutoff, found in thetas.items()
    }
    fine = np.all([np.isfinite(each).all(axis=1) for each in forecasts.values()], axis=0)
    return np.flatnonzero(fine).tolist(), {k: each[fine] for k, each in forecasts.items()}
