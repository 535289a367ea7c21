"""Backtests: hides the largest budgets step by step, fits the rest, and forecasts the hidden ones.

The errors on hidden budgets show how far a law may miss beyond the data. This module makes the
forecasts; `scalax.fit.calibration` evaluates them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scalax.array_types import Float, Int
from scalax.errors import ScalaxError
from scalax.fit.budgets import budget_of
from scalax.fit.constraints import Constraints
from scalax.fit.cost import Cost
from scalax.fit.ensemble import LawVariant, fit_members, log_forecast
from scalax.runs.table import Runs

_FEWEST_ROWS = 5
"""Least number of rows below a cutoff."""
_MOST_CUTOFFS = 9
"""Greatest number of cutoffs, including the one that hides nothing."""
_MOST_ROWS = 2000
"""Greatest number of rows fitted; a larger table is replaced by an even sample of its rows."""


@dataclass(frozen=True)
class Backtest:
    """Forecasts of every member at every cutoff.

    Attributes:
        members: The laws fitted, and their row weights.
        budget: Number of each row's budget, from 0 for the smallest, [rows].
        budgets: Median of ``scale`` in each budget, [budgets].
        reach: Largest ``scale`` in each budget, [budgets].
        scale: The column whose largest values are hidden, FLOPs where the table has them, [rows].
        log_measured: Logarithm of the measured metric, [rows].
        forecasts: Log forecasts [members, rows] by cutoff. Those at cutoff k come from fits to the
            budgets below k; the last cutoff hides nothing.
        thetas: Theta [coefficients] of each member, by cutoff.
    """

    members: list[LawVariant]
    budget: Int[np.ndarray, " rows"]
    budgets: Float[np.ndarray, " budgets"]
    reach: Float[np.ndarray, " budgets"]
    scale: Float[np.ndarray, " rows"]
    log_measured: Float[np.ndarray, " rows"]
    forecasts: dict[int, Float[np.ndarray, "members rows"]]
    thetas: dict[int, list[Float[np.ndarray, " _"]]]

    @property
    def count(self) -> int:
        """Number of budgets; also the cutoff that hides nothing."""
        return len(self.budgets)

    def cutoffs(self, before: int) -> list[int]:
        """Returns the cutoffs below ``before``, in rising order."""
        return [cutoff for cutoff in self.forecasts if cutoff < before]


def run_backtest(
    runs: Runs,
    members: list[LawVariant],
    *,
    metric: str,
    cost: Cost,
    constraints: Constraints | None = None,
    use_priors: bool = True,
    along: str = "flops",
) -> Backtest:
    """Fits every member to the budgets below each cutoff.

    At least two budgets and five rows remain below a cutoff, and at most eight cutoffs hide
    anything. A table of more than two thousand rows is replaced by an even sample.

    Args:
        runs: A cleaned table.
        members: The laws to fit. A law with non-finite values on the rows is left out.
        metric: The column to fit.
        cost: Cost of a log residual.
        constraints: Constraints on the coefficients, where all members have one law.
        use_priors: Whether to apply the priors of `scalax.fit.ensemble`.
        along: The column whose largest values are hidden.

    Returns:
        The forecasts of all members with finite ones.

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
    budget = budget_of(scale)
    count = int(budget.max()) + 1
    cutoffs = [k for k in range(2, count) if np.sum(budget < k) >= _FEWEST_ROWS]
    thetas: dict[int, list[np.ndarray | None]] = {}
    for cutoff in [*cutoffs[-_MOST_CUTOFFS + 1 :], count]:
        below = budget < cutoff
        thetas[cutoff] = fit_members(
            members,
            {name: values[below] for name, values in columns.items()},
            log_measured[below],
            cost=cost,
            constraints=constraints,
            use_priors=use_priors,
        )
    usable, forecasts = _finite(members, thetas, columns)
    if not usable:
        raise ScalaxError(
            "no law has a finite loss on these rows",
            where=runs.source,
            fix="correct zero or extreme values, or name another law with --law",
        )
    return Backtest(
        members=[members[k] for k in usable],
        budget=budget,
        budgets=np.asarray([np.median(scale[budget == j]) for j in range(count)]),
        reach=np.asarray([np.max(scale[budget == j]) for j in range(count)]),
        scale=scale,
        log_measured=log_measured,
        forecasts=forecasts,
        thetas={
            cutoff: [theta for k in usable if (theta := fitted[k]) is not None]
            for cutoff, fitted in thetas.items()
        },
    )


def _finite(
    members: list[LawVariant],
    thetas: dict[int, list[np.ndarray | None]],
    columns: dict[str, np.ndarray],
) -> tuple[list[int], dict[int, np.ndarray]]:
    """Returns the indices of the members whose forecasts are all finite, and these forecasts."""
    rows = len(columns["flops"])
    forecasts = {
        cutoff: np.stack(
            [
                np.full(rows, np.nan) if theta is None else log_forecast(m.law, theta, columns)
                for m, theta in zip(members, fitted, strict=True)
            ]
        )
        for cutoff, fitted in thetas.items()
    }
    finite = np.all([np.isfinite(logs).all(axis=1) for logs in forecasts.values()], axis=0)
    return np.flatnonzero(finite).tolist(), {k: logs[finite] for k, logs in forecasts.items()}
