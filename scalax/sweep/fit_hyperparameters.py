"""Fits the laws of the best learning rate and batch to a sweep that varies them."""

from __future__ import annotations

from pathlib import Path

from scalax.errors import ScalaxError
from scalax.fit.estimate import rows_of
from scalax.fit.hyperparameters import Tuning, of_the_best, tune, varied
from scalax.fit.settings import FitSettings
from scalax.sweep.plan import Plan

FILE = "hyperparameters.json"
_TUNED = {"learning_rate", "batch", "seed"}
"""Axes that the laws model or average over. Of other axes, the best value at each point is used."""


def fit_hyperparameters(
    folder: Path, plan: Plan, *, settings: FitSettings, transfers: bool
) -> tuple[Tuning | None, list[str]]:
    """Fits laws of the learning rate and batch, if the sweep varied them; writes the JSON file.

    Args:
        folder: The sweep's folder, with its runs.csv.
        plan: Its runs.
        settings: The ``[fit]`` section: which rows to use, and which metric to minimise.
        transfers: Whether the parametrisation transfers the learning rate across sizes, so that its
            law depends on tokens only.

    Returns:
        The laws, or None if neither was varied or no law can be fitted; and notes.
    """
    try:
        runs = rows_of(folder, settings, every_setting=True)
        if not varied(runs):
            return None, []
        axes = {axis for run in plan.fitted for axis in run.axes}
        earlier = len(runs.notes)
        runs = of_the_best(runs, sorted(axes - _TUNED), settings.metric)
        rate_of = ("tokens",) if transfers else ("params", "tokens")
        tuning = tune(runs, settings.metric, rate_of=rate_of)
    except ScalaxError as error:  # the runs are still valid
        return None, [f"no law of learning rate or batch: {error}"]
    tuning.save(folder / FILE)
    return tuning, [*runs.notes[earlier:], *tuning.notes]
