"""Power laws of the best learning rate and batch, from runs that vary them at several sizes.

At each point (params, tokens) a parabola in the logarithms of what was varied gives the optimum;
through the optima goes a power law by least squares of logarithms, its intervals by Student's t.
It reads a runs table and nothing of how runs are trained.
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
"""Log loss above a point's best at which a run weighs half: a parabola holds near its bottom."""


@dataclass(frozen=True)
class Optimum:
    """The best settings at one size and amount of data.

    Attributes:
        params: The size.
        tokens: The amount of data.
        learning_rate: The best; None where it was not varied.
        batch_tokens: The best, in tokens; None where it was not varied.
        loss: The least of the parabola.
        rows: Runs behind it.
    """

    params: float
    tokens: float
    learning_rate: float | None
    batch_tokens: float | None
    loss: float
    rows: int


@dataclass(frozen=True)
class TunedLaw:
    """A power law through the optima.

    Attributes:
        law: The product.
        intervals: Of its coefficient and exponents; empty where as many numbers as points leave
            nothing to judge by.
        scatter: Standard deviation of the logarithm of the optima about it, None likewise.
    """

    law: PowerProduct
    intervals: dict[str, tuple[float, float]]
    scatter: float | None

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; its law's numbers stand at the top."""
        numbers = {k: v for k, v in asdict(self.law).items() if k == "coefficient" or v}
        return {**numbers, "intervals": self.intervals, "scatter": self.scatter}


@dataclass(frozen=True)
class Tuning:
    """What a sweep says of the best learning rate and batch.

    Attributes:
        learning_rate: Its law; None where it was not varied.
        batch_tokens: Its law; None where it was not varied.
        optima: The points behind both.
        ranges: Least and greatest params and tokens of them.
        level: Of the intervals.
        notes: Which points have no optimum inside what was tried.
    """

    learning_rate: TunedLaw | None
    batch_tokens: TunedLaw | None
    optima: list[Optimum]
    ranges: dict[str, tuple[float, float]]
    level: float
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, as `scalax.laws.hyperparameters.read_law` reads it."""
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
    """Which of learning rate and batch differ between runs of one point, enough for a parabola."""
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
    """The laws of the best learning rate and batch.

    Args:
        runs: A cleaned table with ``learning_rate``, ``batch_tokens`` or both, each at three values
            or more for each of several points: ``target_params`` and ``target_tokens`` where
            there are such columns, else ``params`` and ``tokens``.
        metric: The column to be least.
        rate_of: What the learning rate is a law of; what does not vary is left out.
        batch_of: What the batch is: of tokens alone by default, since Step Law (arXiv:2503.04715)
            and Bergsma et al. 2025 (arXiv:2505.13738) find it so.
        level: Nominal coverage of the intervals.

    Raises:
        ScalaxError: Neither was varied, or no point has an optimum inside what was tried.

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
        found = _optimum(runs.where(rows), names, metric)
        if isinstance(found, str):
            notes.append(f"params {params:g}, tokens {tokens:g}: {found}")
            continue
        at, loss = found
        best = {name: at.get(name) for name in TUNED}
        optima.append(Optimum(params, tokens, **best, loss=loss, rows=int(rows.sum())))
    if not optima:
        raise ScalaxError(
            f"no point has an optimum inside what was tried; {notes[0]}",
            where=runs.source,
            fix="widen what is tried",
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
    """Where a sweep varied other settings too, the runs of those under which each point did best.

    Args:
        runs: A cleaned table.
        others: Columns of these other settings.
        metric: The column to be least.

    Returns:
        The rows kept, with a note where some were set aside.
    """
    keep = np.zeros(len(runs), bool)
    for rows in _points(runs).values():
        best = np.flatnonzero(rows)[np.argmin(runs[metric][rows])]
        alike = [np.asarray([repr(v) for v in runs[name]]) for name in others]
        keep |= rows & np.all([column == column[best] for column in alike], axis=0)
    if keep.all():
        return runs
    told = f"tuned under the best {', '.join(others)} of each point: {(~keep).sum()} runs set aside"
    return runs.where(keep).noted(told)


def _points(runs: Runs) -> dict[tuple[float, float], np.ndarray]:
    """The rows, as a mask, of each size and amount of data; batches round tokens otherwise."""
    planned = "target_params" in runs and "target_tokens" in runs
    params, tokens = (runs[f"target_{n}" if planned else n] for n in ("params", "tokens"))
    pairs = sorted(set(zip(params.tolist(), tokens.tolist(), strict=True)))
    return {(n, d): (params == n) & (tokens == d) for n, d in pairs}


def _optimum(runs: Runs, names: Sequence[str], metric: str) -> tuple[dict[str, float], float] | str:
    """The bottom of a parabola in logarithms and its loss, or why there is none."""
    x = np.log(np.stack([runs[name] for name in names], axis=1))
    loss = np.log(runs[metric])
    names = [name for name, values in zip(names, x.T, strict=True) if len(np.unique(values)) > 2]
    if not names:
        return "fewer than three values of what is tuned"
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
            return f"the best {name} lies {side} those tried"
    at = {name: math.exp(value) for name, value in zip(names, best + centre, strict=True)}
    return at, math.exp(found[0] + slope @ best / 2)


def _law(optima: Sequence[Optimum], name: str, of: Sequence[str], level: float) -> TunedLaw:
    """A power law of what varies over the optima, or a constant."""
    points = [optimum for optimum in optima if getattr(optimum, name) is not None]
    columns = {v: np.log([getattr(p, v) for p in points]) for v in of}
    columns = {v: column for v, column in columns.items() if len(np.unique(column)) > 1}
    design = np.stack([np.ones(len(points)), *columns.values()], axis=1)
    y = np.log([getattr(p, name) for p in points])
    found, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    if rank < design.shape[1]:
        raise ScalaxError(
            f"{len(points)} optima do not tell the exponents of {' and '.join(columns)} apart",
            where=f"the law of {name}",
            fix="add sizes or token counts, or widen what is tried",
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
