"""What a sweep over learning rates or batches says of the best ones: its hyperparameters.json."""

from __future__ import annotations

from pathlib import Path

from scalax.errors import ScalaxError
from scalax.fit.estimate import rows_of
from scalax.fit.hyperparameters import Tuning, of_the_best, tune, varied
from scalax.fit.settings import FitSettings
from scalax.sweep.expand import Plan

_TUNED = {"learning_rate", "batch", "seed"}
FILE = "hyperparameters.json"


def tune_sweep(
    folder: Path, plan: Plan, *, settings: FitSettings, transfers: bool
) -> tuple[Tuning | None, list[str]]:
    """Fits the laws of what the sweep varied, and writes them.

    Args:
        folder: The sweep's, with its runs.csv.
        plan: Its runs.
        settings: The ``[fit]`` section; says which rows to use and which column to minimise.
        transfers: Whether the learning rate is carried across sizes by the parametrisation, and
            so is a law of tokens alone.

    Returns:
        The laws, or None where neither was varied or no law could be had; and notes of why.
    """
    try:
        runs = rows_of(folder, settings, every_setting=True)
        if not varied(runs):
            return None, []
        axes = {axis for run in plan.fitted for axis in run.axes}
        kept = runs.notes
        runs = of_the_best(runs, sorted(axes - _TUNED), settings.metric)
        rate_of = ("tokens",) if transfers else ("params", "tokens")
        found = tune(runs, settings.metric, rate_of=rate_of)
    except ScalaxError as error:  # the runs stand; only the laws could not be had from them
        return None, [f"no law of learning rate or batch: {error}"]
    found.save(folder / FILE)
    return found, [*runs.notes[len(kept) :], *found.notes]
