"""`scalax.gain`: the compute multiplier between two recipes, from their runs or their fits."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from scalax.fit.estimate import fit
from scalax.fit.keywords import takes_settings
from scalax.fit.settings import EstimatorSettings
from scalax.laws.resolve import LawLike
from scalax.predict.fit_result import Fit
from scalax.predict.gain import Gain, compute_multiplier
from scalax.predict.read_fit import read_fit
from scalax.runs.tabular import Table

DEFAULTS: dict[str, Any] = {"bootstrap": 200, "backtest": False}
"""Settings whose defaults differ from those of a fit: the interval comes from resamples."""
LAW = "chinchilla"


@takes_settings(EstimatorSettings)
def gain(a: Fit | Table, b: Fit | Table, flops: float, law: LawLike = LAW, **settings: Any) -> Gain:
    """Returns the compute multiplier of recipe B over recipe A at a budget.

    It is the compute that A needs to reach the loss that B reaches with ``flops``, over ``flops``;
    each splits its compute as it best can. Both losses must be of the same held-out data.

    Args:
        a: The runs or the fit of the recipe to compare with: a table in any form that `scalax.fit`
            takes, the path of a fit.json, or a `Fit`.
        b: The runs or the fit of the recipe in question.
        flops: B's training compute, in FLOPs.
        law: The law to fit to tables.
        **settings: Settings of these fits, as for `scalax.fit`; by default 200 resamples and no
            backtest.

    Returns:
        The multiplier, both losses, and an interval: from the forecast errors of the fits where
        one has them, otherwise from their resamples, drawn independently.

    Raises:
        ScalaxError: A table is unusable, the budget is not positive, or a law has no loss there.

    Example:
        >>> same = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.3, "beta": 0.3}
        >>> other = {**same, "A": 400 * 2**0.15, "B": 400 * 2**0.15}
        >>> round(gain(Fit("chinchilla", other), Fit("chinchilla", same), 1e21).multiplier, 6)
        2.0
    """
    chosen = DEFAULTS | settings
    # Each table has its own seed: shared draws would cancel in the ratio.
    seeds = np.random.SeedSequence(chosen.pop("seed", 0)).generate_state(2).tolist()
    first, second = (
        _fit_of(runs, law, chosen | {"seed": seed})
        for runs, seed in zip((a, b), seeds, strict=True)
    )
    return compute_multiplier(first, second, flops)


def _fit_of(runs: Fit | Table, law: LawLike, settings: dict[str, Any]) -> Fit:
    if isinstance(runs, Fit):
        return runs
    if isinstance(runs, str | os.PathLike) and os.fspath(runs).endswith(".json"):
        return read_fit(os.fspath(runs))
    return fit(runs, law, **settings)
