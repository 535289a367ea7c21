"""Power laws of the best learning rate and batch, from runs that vary them at several sizes.

At each point (params, tokens) a parabola in the logarithms of the varied settings gives the
optimum. A power law is fitted to the optima by least squares of logarithms, with intervals from
Student's t. It reads only a runs table.
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
"""Log loss above a point's best at which a run has half the weight."""


@dataclass(frozen=True)
class Optimum:
    """The best settings at one size and amount of data.

    Attributes:
        params: Model parameters.
        tokens: Training tokens.
        learning_rate: The best learning rate; None where it was not varied.
        batch_tokens: The best batch size, in tokens; None where it was not varied.
        loss: The minimum of the parabola.
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
        intervals: Intervals of its coefficient and exponents; empty where there are no more points
            than numbers to fit.
        scatter: Standard deviation of the log optima about the law; None in the same case.
    """

    law: PowerProduct
    intervals: dict[str, tuple[float, float]]
    scatter: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values, with the numbers of the law at the top level."""
        numbers = {k: v for k, v in asdict(self.law).items() if k == "coefficient" or v}
        return {**numbers, "intervals": self.intervals, "scatter": self.scatter}


@dataclass(frozen=True)
class Tuning:
    """The laws of the best learning rate and batch of a sweep.

    Attributes:
        learning_rate: The law of the learning rate; None where it was not varied.
        batch_tokens: The law of the batch; None where it was not varied.
        optima: The points that the laws are fitted to.
        ranges: Least and greatest params and tokens of these points.
        level: Nominal coverage of the intervals.
        notes: The points that have no optimum inside the range tried.
    """

    learning_rate: TunedLaw | None
    batch_tokens: TunedLaw | None
    optima: list[Optimum]
    ranges: dict[str, tuple[float, float]]
    level: float
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values, for `scalax.laws.hyperparameters.read_law`."""
        laws = {name: getattr(self, name) for name in TUNED}
        return {
            **{name: law.to_json() if law else None for name, law in laws.items()},
            "optima": [asdict(optimum) for optimum in self.optima],
            "ranges": self.ranges,
            "level": self.level,
            "notes": self.notes,
        }

    def save(self, path: str | Path) -> None:
        """Writes the record as a JSON file."""
        write_json(Path(path), self.to_json())


def varied(runs: Runs) -> list[str]:
    """Returns which of learning rate and batch have three values or more at some point."""
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
    """Fits the laws of the best learning rate and batch.

    Args:
        runs: A prepared table with ``learning_rate``, ``batch_tokens`` or both, each at three
            values or more at several points. Points are those of ``target_params`` and
            ``target_tokens`` where the table has them, else of ``params`` and ``tokens``.
        metric: The column to minimise.
        rate_of: The variables of the law of the learning rate; constant ones are left out.
        batch_of: The variables of the law of the batch: tokens alone by default, as found by Step
            Law (arXiv:2503.04715) and Bergsma et al. 2025 (arXiv:2505.13738).
        level: Nominal coverage of the intervals.

    Raises:
        ScalaxError: Neither was varied, or no point has an optimum inside the range tried.

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
            f"no point has an optimum inside the range tried; {notes[0]}",
            where=runs.source,
            fix="widen the range of what is varied",
        )
    laws: dict[str, TunedLaw] = {}
    for name, of in (("learning_rate", rate_of), ("batch_tokens", batch_of)):
        if name in names:
            laws[name] = _law(optima, name, of, level)
    spans = {
        of: (min(getattr(o, of) for o in optima), max(getattr(o, of) for o in optima))
        for of in ("params", "tokens")
    }
    return Tuning(laws.get("learning_rate"), laws.get("batch_tokens"), optima, spans, level, notes)


def of_the_best(runs: Runs, others: Sequence[str], metric: str = "loss") -> Runs:
    """Keeps the runs that use each point's best values of the other settings of a sweep.

    Args:
        runs: A prepared table.
        others: Columns of the other settings.
        metric: The column to minimise.

    Returns:
        These rows, with a note where others were set aside.
    """
    keep = np.zeros(len(runs), bool)
    for rows in _points(runs).values():
        best = np.flatnonzero(rows)[np.argmin(runs[metric][rows])]
        settings = [np.asarray([repr(v) for v in runs[name]]) for name in others]
        keep |= rows & np.all([column == column[best] for column in settings], axis=0)
    if keep.all():
        return runs
    note = f"tuned with the best {', '.join(others)} of each point: {(~keep).sum()} runs set aside"
    return runs.where(keep).noted(note)


def _points(runs: Runs) -> dict[tuple[float, float], np.ndarray]:
    """Returns a mask of the rows of each planned size and amount of data."""
    planned = "target_params" in runs and "target_tokens" in runs
    params, tokens = (runs[f"target_{n}" if planned else n] for n in ("params", "tokens"))
    pairs = sorted(set(zip(params.tolist(), tokens.tolist(), strict=True)))
    return {(n, d): (params == n) & (tokens == d) for n, d in pairs}


def _optimum(runs: Runs, names: Sequence[str], metric: str) -> tuple[dict[str, float], float] | str:
    """Returns the minimum of a parabola in logarithms and its loss, or why there is none."""
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
    found, _, rank, _ = np.linalg.lstsq(design * root[:, None], loss * root, rcond=None)
    if rank < design.shape[1]:
        return f"{len(loss)} runs, where a parabola in {' and '.join(names)} needs a grid"
    slope, bends = found[1 : 1 + len(names)], found[1 + len(names) :]
    bend = np.zeros((len(names), len(names)))
    bend[left, right] += bends
    bend = bend + bend.T
    if np.linalg.eigvalsh(bend).min() <= 0:
        return "the losses have no minimum"
    best = -np.linalg.solve(bend, slope)
    for name, at, tried in zip(names, best, u.T, strict=True):
        if not tried.min() <= at <= tried.max():
            side = "below" if at < tried.min() else "above"
            return f"the best {name} is {side} those tried"
    at = {name: math.exp(value) for name, value in zip(names, best + centre, strict=True)}
    return at, math.exp(found[0] + slope @ best / 2)


def _law(optima: Sequence[Optimum], name: str, of: Sequence[str], level: float) -> TunedLaw:
    """Fits a power law of the variables that vary over the optima, or a constant."""
    points = [optimum for optimum in optima if getattr(optimum, name) is not None]
    columns = {v: np.log([getattr(p, v) for p in points]) for v in of}
    columns = {v: column for v, column in columns.items() if len(np.unique(column)) > 1}
    design = np.stack([np.ones(len(points)), *columns.values()], axis=1)
    y = np.log([getattr(p, name) for p in points])
    found, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    if rank < design.shape[1]:
        raise ScalaxError(
            f"{len(points)} optima cannot determine the exponents of {' and '.join(columns)}",
            where=f"the law of {name}",
            fix="add sizes or token counts, or widen the range of what is varied",
        )
    numbers = dict(zip(["coefficient", *columns], found.tolist(), strict=True))
    law = PowerProduct(**numbers | {"coefficient": math.exp(numbers["coefficient"])})
    spare = len(points) - design.shape[1]
    if spare < 1:
        return TunedLaw(law, {}, None)
    from scipy.stats import t

    scatter = float(np.sqrt(np.sum((y - design @ found) ** 2) / spare))
    errors = scatter * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    reach = float(t.ppf((1 + level) / 2, spare)) * errors
    spans = {
        key: (value - width, value + width)
        for (key, value), width in zip(numbers.items(), reach.tolist(), strict=True)
    }
    low, high = spans["coefficient"]
    spans["coefficient"] = (math.exp(low), math.exp(high))
    return TunedLaw(law, spans, scatter)
