"""Fits power laws of the best learning rate and batch size to a sweep that varies them.

At each point (params, tokens), the optimum is the minimum of a parabola in the logarithms of the
varied settings. Least squares of logarithms then fits a power law to the optima; the intervals are
from Student's t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.files import write_json
from scalax.laws.power_product import PowerProduct
from scalax.runs.table import Runs

TUNED = ("learning_rate", "batch_tokens")
_NEAR = 0.01
"""Log loss above that of a point's best run at which a run has half the weight."""


@dataclass(frozen=True)
class Optimum:
    """The best settings at one size and amount of data.

    Attributes:
        params: Model parameters.
        tokens: Training tokens.
        learning_rate: The best peak learning rate; None where it was not varied.
        batch_tokens: The best batch size, in tokens; None where it was not varied.
        loss: The loss at the minimum of the parabola.
        rows: Number of runs at the point.
    """

    params: float
    tokens: float
    learning_rate: float | None
    batch_tokens: float | None
    loss: float
    rows: int


@dataclass(frozen=True)
class TunedLaw:
    """A power law fitted to the optima.

    Attributes:
        law: The power law.
        intervals: Intervals of its coefficient and exponents; empty if there are no more points
            than numbers to fit.
        scatter: Standard deviation of the log optima about the law; None if ``intervals`` is empty.
    """

    law: PowerProduct
    intervals: dict[str, tuple[float, float]]
    scatter: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the law as JSON values, its coefficient and exponents at the top level."""
        numbers = {k: v for k, v in asdict(self.law).items() if k == "coefficient" or v}
        return {**numbers, "intervals": self.intervals, "scatter": self.scatter}


@dataclass(frozen=True)
class Tuning:
    """The laws of the best learning rate and batch size of a sweep.

    Attributes:
        learning_rate: The law of the learning rate; None where it was not varied.
        batch_tokens: The law of the batch size; None where it was not varied.
        optima: The points that the laws are fitted to.
        ranges: Least and greatest params and tokens of these points.
        level: Nominal coverage of the intervals.
        notes: The points without an optimum in the range of the sweep, with the reason.
    """

    learning_rate: TunedLaw | None
    batch_tokens: TunedLaw | None
    optima: list[Optimum]
    ranges: dict[str, tuple[float, float]]
    level: float
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the laws as JSON values; `scalax.laws.hyperparameters.read_law` reads them."""
        laws = {name: getattr(self, name) for name in TUNED}
        return {
            **{name: law.to_json() if law else None for name, law in laws.items()},
            "optima": [asdict(optimum) for optimum in self.optima],
            "ranges": self.ranges,
            "level": self.level,
            "notes": self.notes,
        }

    def save(self, path: str | Path) -> None:
        """Writes the laws as a JSON file."""
        write_json(Path(path), self.to_json())


def varied(runs: Runs) -> list[str]:
    """Returns which of `TUNED` have at least three values at some point."""
    points = [runs.where(rows) for rows in _points(runs).values()]
    return [
        name
        for name in TUNED
        if name in runs and any(len(np.unique(point[name])) > 2 for point in points)
    ]


def tune(
    runs: Runs,
    metric: str = "loss",
    *,
    rate_of: Sequence[str] = ("params", "tokens"),
    batch_of: Sequence[str] = ("tokens",),
    level: float = 0.9,
) -> Tuning:
    """Fits the laws of the best learning rate and batch size.

    Args:
        runs: A prepared table with at least three values of ``learning_rate``, ``batch_tokens`` or
            both at each of several points. A point is a pair of ``target_params`` and
            ``target_tokens``, or of ``params`` and ``tokens`` where the table lacks these.
        metric: The column to minimise.
        rate_of: The variables in the law of the learning rate. Variables that are constant over the
            optima are omitted.
        batch_of: The variables in the law of the batch size: by default only tokens, following Step
            Law (arXiv:2503.04715) and Bergsma et al. 2025 (arXiv:2505.13738).
        level: Nominal coverage of the intervals.

    Returns:
        The laws, and the optima behind them.

    Raises:
        ScalaxError: Neither setting has three values at a point, no point has an optimum in the
            range of the sweep, or the optima do not determine the exponents.

    Example:
        >>> n, d, rate = (g.ravel() for g in np.meshgrid(
        ...     [1e6, 4e6, 16e6], [1e8, 1e9], [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]))
        >>> best = 2 * n**-0.5 * d**0.05
        >>> loss = np.exp(0.1 * np.log(rate / best) ** 2)
        >>> x = {"params": n, "tokens": d, "learning_rate": rate, "loss": loss}
        >>> tune(Runs.from_columns(x)).learning_rate.law.equation
        '2 N^-0.5 D^0.05'
    """
    names = varied(runs)
    if not names:
        raise ScalaxError(
            "no point has three values or more of learning_rate or batch_tokens",
            where=runs.source,
            fix="vary one in the sweep: axes.learning_rate = [0.002, 0.004, 0.008, 0.016]",
        )
    optima, notes = [], []
    for (params, tokens), rows in _points(runs).items():
        optimum = _optimum(runs.where(rows), names, metric)
        if isinstance(optimum, str):
            notes.append(f"params {params:g}, tokens {tokens:g}: {optimum}")
            continue
        values, loss = optimum
        best = {name: values.get(name) for name in TUNED}
        optima.append(Optimum(params, tokens, **best, loss=loss, rows=int(rows.sum())))
    if not optima:
        raise ScalaxError(
            f"no point has an optimum inside the range of the sweep; {notes[0]}",
            where=runs.source,
            fix=f"add smaller and larger values of {' and '.join(names)}",
        )
    laws: dict[str, TunedLaw] = {}
    for name, variables in (("learning_rate", rate_of), ("batch_tokens", batch_of)):
        if name in names:
            laws[name] = _fit_law(optima, name, variables, level)
    ranges = {
        v: (min(getattr(o, v) for o in optima), max(getattr(o, v) for o in optima))
        for v in ("params", "tokens")
    }
    return Tuning(laws.get("learning_rate"), laws.get("batch_tokens"), optima, ranges, level, notes)


def of_the_best(runs: Runs, others: Sequence[str], metric: str = "loss") -> Runs:
    """Keeps the runs that have the same other settings as the best run of their point.

    Args:
        runs: A prepared table.
        others: Columns of the settings that no law is fitted for, such as ``beta2``.
        metric: The column to minimise.

    Returns:
        These runs, with a note if any were set aside.
    """
    keep = np.zeros(len(runs), bool)
    for rows in _points(runs).values():
        best = np.flatnonzero(rows)[np.argmin(runs[metric][rows])]
        settings = [np.asarray([repr(v) for v in runs[name]]) for name in others]
        keep |= rows & np.all([column == column[best] for column in settings], axis=0)
    if keep.all():
        return runs
    note = (
        f"used the runs with each point's best {', '.join(others)}; {(~keep).sum()} runs set aside"
    )
    return runs.where(keep).noted(note)


def _points(runs: Runs) -> dict[tuple[float, float], np.ndarray]:
    """Returns the points (params, tokens), as planned where known, each with a mask of its rows."""
    planned = "target_params" in runs and "target_tokens" in runs
    params, tokens = (runs[f"target_{n}" if planned else n] for n in ("params", "tokens"))
    pairs = sorted(set(zip(params.tolist(), tokens.tolist(), strict=True)))
    return {(n, d): (params == n) & (tokens == d) for n, d in pairs}


def _optimum(runs: Runs, names: Sequence[str], metric: str) -> tuple[dict[str, float], float] | str:
    """Fits a parabola in the logarithms of settings to the runs of one point.

    Returns:
        The best settings by name and the loss there, or the reason why there is no optimum.
    """
    x = np.log(np.stack([runs[name] for name in names], axis=1))
    loss = np.log(runs[metric])
    names = [name for name, values in zip(names, x.T, strict=True) if len(np.unique(values)) > 2]
    if not names:
        return "fewer than three values of each setting"
    x = np.log(np.stack([runs[name] for name in names], axis=1))
    centre = x.mean(axis=0)
    u = x - centre
    left, right = np.triu_indices(len(names))
    design = np.concatenate([np.ones((len(u), 1)), u, u[:, left] * u[:, right]], axis=1)
    root = (1 + ((loss - loss.min()) / _NEAR) ** 2) ** -0.5
    solution, _, rank, _ = np.linalg.lstsq(design * root[:, None], loss * root, rcond=None)
    if rank < design.shape[1]:
        return f"{len(loss)} runs do not determine a parabola in {' and '.join(names)}: run a grid"
    slope, curvatures = solution[1 : 1 + len(names)], solution[1 + len(names) :]
    hessian = np.zeros((len(names), len(names)))
    hessian[left, right] += curvatures
    hessian = hessian + hessian.T
    if np.linalg.eigvalsh(hessian).min() <= 0:
        return "the losses have no minimum"
    best = -np.linalg.solve(hessian, slope)
    for name, value, tried in zip(names, best, u.T, strict=True):
        if not tried.min() <= value <= tried.max():
            side = "below" if value < tried.min() else "above"
            return f"the best {name} is {side} those tried"
    settings = {name: math.exp(value) for name, value in zip(names, best + centre, strict=True)}
    return settings, math.exp(solution[0] + slope @ best / 2)


def _fit_law(
    optima: Sequence[Optimum], name: str, variables: Sequence[str], level: float
) -> TunedLaw:
    """Fits a power law of the variables that differ among the optima; a constant if none does."""
    points = [optimum for optimum in optima if getattr(optimum, name) is not None]
    columns = {v: np.log([getattr(p, v) for p in points]) for v in variables}
    columns = {v: column for v, column in columns.items() if len(np.unique(column)) > 1}
    design = np.stack([np.ones(len(points)), *columns.values()], axis=1)
    y = np.log([getattr(p, name) for p in points])
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    if rank < design.shape[1]:
        raise ScalaxError(
            f"{len(points)} optima cannot determine the exponents of {' and '.join(columns)}",
            where=f"the law of {name}",
            fix=f"run more sizes and token counts, with smaller and larger values of {name}",
        )
    numbers = dict(zip(["coefficient", *columns], solution.tolist(), strict=True))
    law = PowerProduct(**numbers | {"coefficient": math.exp(numbers["coefficient"])})
    freedom = len(points) - design.shape[1]
    if freedom < 1:
        return TunedLaw(law, {}, None)
    from scipy.stats import t

    scatter = float(np.sqrt(np.sum((y - design @ solution) ** 2) / freedom))
    errors = scatter * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    widths = float(t.ppf((1 + level) / 2, freedom)) * errors
    intervals = {
        key: (value - width, value + width)
        for (key, value), width in zip(numbers.items(), widths.tolist(), strict=True)
    }
    low, high = intervals["coefficient"]
    intervals["coefficient"] = (math.exp(low), math.exp(high))
    return TunedLaw(law, intervals, scatter)
