"""Synthetic runs of a known law with what goes wrong in practice, to rehearse a study on.

Each trouble is a function of its own, and every number comes from the generator passed in. It
trains nothing and fits nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.form_error import TRUNK_SHARE, trunk_numbers
from scalax.laws.base import ComputeRule
from scalax.predict.protocol import ScalingLaw
from scalax.runs.table import Runs

Truth = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The loss of params and tokens."""

_MISTUNED = 0.01  # mean of the log of what bad tuning multiplies a loss by
_OUTLIER = (0.05, 0.3)  # least and greatest log of what a spike multiplies a loss by
_PERIOD = (4.0, 12.0)  # of a drift, in decades of compute

# The design where none is given: isoFLOPs as papers have them.
_BUDGETS, _APART = 5, 10**0.5
_SIZES, _SPAN = 7, 16.0
_OFF, _WANDER = 0.4, 0.15
_FIRST = 1e18


@dataclass(frozen=True)
class Troubles:
    """What goes wrong.

    Attributes:
        noise: Relative standard deviation of the loss from run to run.
        mistuned: Share of the runs whose learning rate is off: their loss is raised by 1 % in the
            mean, exponentially distributed.
        outliers: Share of the runs that spiked and never came back: raised by 5 to 35 %.
        drift: Form error: the root mean square, over seeds, of what log loss is off by at a
            decade of compute from the smallest run; at x decades x times that. See `Drift`.
    """

    noise: float = 0.003
    mistuned: float = 0.0
    outliers: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = 1.0 if field.name in ("mistuned", "outliers") else 0.5
            if not 0 <= value <= most:
                raise ScalaxError(
                    f"expected a number from 0 to {most:g}, got {value:g}",
                    where=f"--{field.name}",
                    fix=f"write --{field.name} 0.01",
                )


@dataclass(frozen=True)
class Drift:
    """An error of the form that grows smoothly with log compute, and that no law here contains.

    log loss is off by ``size * sqrt(2) * x * sin(phase + 2 pi x / period)``, x the decades of
    compute above ``origin``. Over phases its mean is 0 and its root mean square ``size * x``.

    Attributes:
        size: Log units a decade.
        origin: Compute where it is nothing, in FLOPs.
        phase: In radians.
        period: In decades.

    Example:
        >>> drift = Drift(size=0.01, origin=1e18, phase=math.pi / 2, period=4.0)
        >>> [round(float(v), 6) + 0.0 for v in drift(np.array([1e18, 1e19, 1e20]))]
        [0.0, 0.0, -0.028284]
    """

    size: float
    origin: float
    phase: float
    period: float

    @classmethod
    def draw(cls, size: float, origin: float, rng: np.random.Generator) -> Drift:
        """One at random: any phase, and a period of 4 to 12 decades."""
        return cls(size, origin, float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(*_PERIOD)))

    def __call__(self, flops: np.ndarray) -> np.ndarray:
        """What log loss is off by, of the shape of ``flops``."""
        x = np.maximum(np.log10(flops / self.origin), 0.0)
        wave = np.sin(self.phase + 2 * np.pi * x / self.period)
        return np.asarray(self.size * math.sqrt(2) * x * wave)


def spoil(
    log_loss: np.ndarray,
    trunks: np.ndarray,
    troubles: Troubles,
    rng: np.random.Generator,
) -> np.ndarray:
    """Log losses as they would be measured: noise, bad tuning and spikes (drift is `Drift`).

    Args:
        log_loss: Of the law, [rows].
        trunks: A number for each trunk, another for each run alone, [rows].
        troubles: What goes wrong.
        rng: All draws come from it.

    Returns:
        [rows].
    """
    rows = len(log_loss)
    _, trunk = np.unique(trunks, return_inverse=True)
    common = rng.standard_normal(trunk.max() + 1)[trunk] if rows else np.zeros(0)
    own = rng.standard_normal(rows)
    noise = math.sqrt(TRUNK_SHARE) * common + math.sqrt(1 - TRUNK_SHARE) * own
    off_rate = np.where(_some(rows, troubles.mistuned, rng), rng.exponential(_MISTUNED, rows), 0.0)
    spikes = np.where(_some(rows, troubles.outliers, rng), rng.uniform(*_OUTLIER, rows), 0.0)
    return np.asarray(log_loss + troubles.noise * noise + off_rate + spikes)


def _some(rows: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """A mask of the share of the rows, to the nearest row."""
    picked = np.zeros(rows, bool)
    picked[rng.permutation(rows)[: round(share * rows)]] = True
    return picked


def isoflops(
    budgets: np.ndarray,
    centres: np.ndarray,
    sizes: int,
    span: float,
    rule: ComputeRule,
) -> tuple[np.ndarray, np.ndarray]:
    """Sizes about a centre at each budget, spaced evenly in their logarithm.

    Args:
        budgets: FLOPs, [budgets].
        centres: The middle size at each, [budgets].
        sizes: How many at each.
        span: Largest over smallest.
        rule: How params and tokens make up FLOPs.

    Returns:
        params and tokens, [budgets * sizes].
    """
    params = centres[:, None] * span ** np.linspace(-0.5, 0.5, sizes)
    tokens = rule.tokens(params, budgets[:, None])
    return params.ravel(), np.asarray(tokens).ravel()


def usual_design(law: ScalingLaw, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Five isoFLOPs of seven sizes, half a decade apart, off the law's best size as in practice.

    The centres are off by a factor whose logarithm has deviation 0.4, and wander with the budget.
    The largest budget is that of the runs behind the law where they are known; else 1e20 FLOPs.

    Returns:
        params and tokens, [35].
    """
    fit = law.require_loss()
    greatest = fit.ranges.get("flops", [0, _FIRST * _APART ** (_BUDGETS - 1)])[1]
    budgets = greatest / _APART ** np.arange(_BUDGETS - 1, -1, -1)
    best = np.asarray([law.allocate(float(budget)).params for budget in budgets])
    steps = np.arange(_BUDGETS) - (_BUDGETS - 1) / 2
    off = rng.normal(0, _OFF) + rng.normal(0, _WANDER) * steps
    return isoflops(budgets, best * np.exp(off), _SIZES, _SPAN, fit.compute)


def synthetic_runs(
    law: ScalingLaw,
    troubles: Troubles | None = None,
    *,
    design: str | Path | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The rows of a runs table, as if the sweep had been trained under the law.

    Args:
        law: Whose losses the runs have.
        troubles: What goes wrong; by default noise of 0.3 % alone.
        design: An experiment file that states the runs; by default `usual_design`.
        seed: Of everything random.

    Returns:
        A row a run, as `scalax run` would write it.

    Raises:
        ScalaxError: The law has no loss of params and tokens, or the design is wrong.
    """
    troubles = troubles or Troubles()
    fit = law.require_loss()
    rng = np.random.default_rng(seed)
    rows = _designed(design) if design is not None else _usual_rows(law, seed, rng)
    columns = {
        name: np.asarray([row[name] for row in rows], float)
        for name in ("params", "tokens", "flops", *fit.form.columns)
        if name in rows[0]
    }
    with np.errstate(all="ignore"):
        log_loss = np.log(fit.loss(**fit.form.complete(columns)) * np.ones(len(rows)))
    if not np.isfinite(log_loss).all():
        raise ScalaxError(f"{fit.law} is not finite at these runs", where="--law")
    drift = Drift.draw(troubles.drift, float(columns["flops"].min()), rng)
    trunks = trunk_numbers([row.get("trunk") for row in rows])
    measured = np.exp(spoil(log_loss + drift(columns["flops"]), trunks, troubles, rng))
    for row, loss in zip(rows, measured.tolist(), strict=True):
        row |= {"status": "done", "loss": loss}
    return rows


def synthetic_table(
    law: ScalingLaw,
    troubles: Troubles | None = None,
    *,
    design: str | Path | None = None,
    seed: int = 0,
) -> Runs:
    """The same as a table, ready to fit; arguments as `synthetic_runs`.

    Example:
        >>> from scalax.predict.published_law import published_fit
        >>> runs = synthetic_table(published_fit("hoffmann2022"), Troubles(noise=0.002))
        >>> len(runs), "trunk" in runs
        (35, True)
    """
    rows = synthetic_runs(law, troubles, design=design, seed=seed)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return Runs.from_columns(columns, source="synthetic runs")


def _usual_rows(law: ScalingLaw, seed: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    params, tokens = usual_design(law, rng)
    flops = np.asarray(law.compute.flops(params, tokens))
    return [
        {
            "name": f"n{n:.6g}-d{d:.6g}",
            "role": "fit",
            "status": None,
            "params": n,
            "tokens": d,
            "flops": c,
            "loss": None,
            "flops_spent": c,
            "trunk": None,
            "seed": seed,
        }
        for n, d, c in zip(params.tolist(), tokens.tolist(), flops.tolist(), strict=True)
    ]


def _designed(path: str | Path) -> list[dict[str, Any]]:
    """The rows that an experiment states, before they are measured."""
    from scalax.sweep.run import prepare

    prepared = prepare(path)
    return [run.row(prepared.plan.data).to_dict() for run in prepared.plan.runs]
