"""Backtests: hides the largest budgets step by step, fits the rest, and forecasts the hidden ones.

The errors of a law on budgets hidden from it show how far it may miss beyond the data. This module
makes the forecasts; `scalax.fit.calibration` evaluates them.
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
"""Greatest number of cutoffs, the one that hides nothing included."""
_MOST_ROWS = 2000
"""Greatest number of rows fitted; of a larger table an even sample is used."""


@dataclass(frozen=True)
class Backtest:
    """Forecasts of every member at every cutoff.

    Attributes:
        members: The laws fitted, and their row weights.
        label: The budget of each row, [rows].
        budgets: Compute of each budget, the median of its rows, [budgets].
        reach: Largest compute in each budget, [budgets].
        flops: The column along which budgets are hidden, [rows].
        log_measured: Logarithm of the measured metric, [rows].
        forecasts: ``{cutoff: [members, rows]}``: log forecasts of the fits to budgets below the
            cutoff; the last cutoff hides nothing.
        thetas: ``{cutoff: [coefficients] of each member}``.
    """

    members: list[LawVariant]
    label: Int[np.ndarray, " rows"]
    budgets: Float[np.ndarray, " budgets"]
    reach: Float[np.ndarray, " budgets"]
    flops: Float[np.ndarray, " rows"]
    log_measured: Float[np.ndarray, " rows"]
    forecasts: dict[int, Float[np.ndarray, "members rows"]]
    thetas: dict[int, list[Float[np.ndarray, " _"]]]

    @property
    def count(self) -> int:
        """Number of budgets; also the cutoff that hides nothing."""
        return len(self.budgets)

    def cutoffs(self, before: int) -> list[int]:
        """Returns the cutoffs below ``before``, rising: each leaves a budget to forecast."""
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
    """Fits every member to the table without its largest budgets, hiding one more each time.

    Each fit keeps at least two budgets and five rows, and at most the last eight cutoffs are
    tried. A table of more than two thousand rows is replaced by an even sample.

    Args:
        runs: A cleaned table.
        members: The laws to fit. A law with non-finite values on the rows is left out.
        metric: The column to fit.
        cost: Cost of a log residual.
        constraints: Constraints on the coefficients, where all members have one law.
        use_priors: Whether to apply the priors of `scalax.fit.ensemble`.
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
            constraints=constraints,
            use_priors=use_priors,
        )
    usable, forecasts = _finite(members, thetas, columns)
    if not usable:
        raise ScalaxError("no law is finite on these rows", where=runs.source)
    return Backtest(
        members=[members[k] for k in usable],
        label=label,
        budgets=np.asarray([np.median(scale[label == j]) for j in range(count)]),
        reach=np.asarray([np.max(scale[label == j]) for j in range(count)]),
        flops=scale,
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
    """Returns the members with finite forecasts only, and their forecasts by cutoff."""
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
