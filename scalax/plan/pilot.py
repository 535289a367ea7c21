"""Plans pilot runs: their sizes and tokens, the experiment file, and the expected intervals.

Trains nothing and does not import jax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalax import registry
from scalax.data.base import OpenDataset
from scalax.errors import ScalaxError
from scalax.files import write_text
from scalax.fit.form_error import FORMS, SPLIT_FORM
from scalax.fit.posterior import Posterior
from scalax.fit.posterior_fit import posterior_of
from scalax.fit.prepare import prepare_runs
from scalax.fit.prior import (
    RATIO,
    SPLIT,
    GaussianPrior,
    along_frontier,
    prior_of_law,
    published_prior,
    shift_anchor,
)
from scalax.models.base import ModelFamily
from scalax.plan.candidates import Candidates, candidates
from scalax.plan.design import Design
from scalax.plan.pilot_file import base_experiment, experiment_text, parse_text
from scalax.predict.columns import positive
from scalax.predict.protocol import ScalingLaw
from scalax.predict.published_law import published_fit
from scalax.predict.read_fit import read_fit
from scalax.runs.table import Runs
from scalax.runs.tabular import Table
from scalax.sweep.expand import expand
from scalax.sweep.plan import Plan

PRIOR = "prior"
"""The law that stands for the prior over published laws."""
_QUANTILE = 1.6449
"""Half width of a 90 % interval, in standard deviations."""
_NOISE = 0.002
"""Default relative deviation of a loss: that of repeated runs of small language models."""
_FAR = 1e4
"""Ratio of the target to the largest run above which a note warns of extrapolation."""
_DRAWS = 256
_SHRINK = 0.97
"""Factor on tokens in each attempt to fit whole steps into the budget."""


@dataclass(frozen=True)
class Pilot:
    """Planned pilot runs, and the forecast expected after them.

    Attributes:
        plan: The runs, as `scalax run` will train them.
        target: Compute of the forecast, in FLOPs.
        loss: Expected 90 % interval of the loss at the target, ``[low, high]``.
        params: Expected 90 % interval of N* at the target, ``[low, high]``.
        text: Text of the experiment file.
        notes: Warnings and assumptions.
    """

    plan: Plan
    target: float
    loss: list[float]
    params: list[float]
    text: str
    notes: list[str]

    @property
    def flops(self) -> float:
        """Total cost of the runs, in FLOPs."""
        return sum(run.flops_spent for run in self.plan.fitted)

    def save(self, path: str | Path) -> None:
        """Writes the experiment file."""
        write_text(Path(path), self.text)

    def to_json(self, experiment: str | None = None) -> dict[str, Any]:
        """Returns the plan as `scalax plan --json` prints it.

        Args:
            experiment: Path of the experiment file; None gives its text instead.
        """
        return {
            "runs": [
                {
                    "params": run.counts.params,
                    "tokens": run.spec.units,
                    "flops": run.flops,
                    "trunk": run.trunk_name,
                }
                for run in self.plan.fitted
            ],
            "flops": self.flops,
            "expected": {"loss": self.loss, "params": self.params},
            "experiment": self.text if experiment is None else experiment,
        }


def plan_pilot(
    law: str | ScalingLaw,
    budget: float,
    target: float,
    *,
    max_flops: float | None = None,
    sizes: Sequence[float] | None = None,
    runs: Table | None = None,
    like: str | Path | None = None,
) -> Pilot:
    """Chooses the pilot runs under a budget that sharpen the forecast at a target most.

    Args:
        law: What is known before the runs: ``"prior"``, the name of a published law, or a fit or
            its file.
        budget: Total FLOPs of the runs; a shared trunk counts once.
        target: Compute of the forecast, in FLOPs.
        max_flops: Most FLOPs of a single run; by default the budget.
        sizes: Sizes to consider, in params; None for any.
        runs: Runs already trained, as any table that `scalax.fit` accepts.
        like: An experiment file whose data, model and training the plan uses.

    Returns:
        The runs, the experiment file and the expected intervals.

    Raises:
        ScalaxError: A number is not positive, the law has no loss of params and tokens, or no
            informative run is affordable.

    Example:
        >>> pilot = plan_pilot("prior", budget=1e15, target=1e17)
        >>> pilot.flops <= 1e15
        True
    """
    for name, value in (("--budget", budget), ("--target", target), ("--max-flops", max_flops)):
        if value is not None:
            positive(name, value)
    if sizes is not None:
        positive("--sizes", list(sizes))
    most = min(budget, max_flops or budget, target)
    base = base_experiment(like)
    family: ModelFamily = registry.get("model", base.model.family)
    dataset = base.data.dataset
    data: OpenDataset = registry.get("dataset", dataset).open(dataset, base.data.options)
    rows = None if runs is None else prepare_runs(runs)
    prior, noise, form = _prior(law, math.log(most), rows)
    trunks = base.train.schedule == "wsd"
    choices = candidates(
        family,
        base.model.options,
        data.spec,
        most_flops=most,
        best_size=math.exp((math.log(most) - prior.mean[RATIO]) / 2),
        sizes=sizes,
        decay=base.train.decay if trunks else 1.0,
    )
    design = Design(choices, prior, target, form=form, noise=noise)
    chosen = design.choose(budget)
    if not chosen:
        raise ScalaxError(
            f"{budget:.3g} FLOPs are too few for any informative run",
            where="--budget",
            fix=f"give more (the cheapest run costs {choices.flops.min():.3g}), or smaller --sizes",
        )
    loss, params = _expected(choices, prior, target, chosen, noise)
    shrink = 1.0
    while True:  # steps are whole numbers, so that only the expanded plan gives the exact cost
        points = [
            (float(choices.params[k]), float(f"{shrink * choices.tokens[k]:.4g}")) for k in chosen
        ]
        text = experiment_text(base, points, trunks, budget, target, loss, params)
        plan = expand(parse_text(text), family, data.spec)
        spent = sum(run.flops_spent for run in plan.fitted)
        if spent <= budget and max(run.flops for run in plan.fitted) <= most:
            break
        shrink *= _SHRINK
    notes = [*(rows.notes if rows else ()), *_notes(plan, budget, target, most, like)]
    return Pilot(plan, target, loss, params, text, notes)


def _prior(
    law: str | ScalingLaw, anchor: float, runs: Runs | None
) -> tuple[GaussianPrior, float, float]:
    """Returns the prior at an anchor at or above this one, the noise, and the form error."""

    def before(at: float) -> GaussianPrior:
        if law == PRIOR:
            return published_prior(at)
        if not isinstance(law, str):
            return prior_of_law(law, at)
        return prior_of_law(read_fit(law) if law.endswith(".json") else published_fit(law), at)

    if runs is None:
        return before(anchor), _NOISE, FORMS[0]
    after, _ = posterior_of(runs, before=before)
    noise = float(after.weights @ after.noises)
    return _prior_above(after, anchor), noise, FORMS[0]


def _prior_above(after: Posterior, anchor: float) -> GaussianPrior:
    """Returns a posterior as a prior at a higher anchor, with the form error between the two."""
    distance = max(anchor - after.anchor, 0.0)
    theta = shift_anchor(after.draws(_DRAWS), distance)
    mean, covariance = theta.mean(axis=0), np.cov(theta.T)
    form = float(after.weights @ after.forms**2)
    slope = math.exp(mean[1])
    drift = np.zeros(6)
    drift[0], drift[1] = form * distance**3 / 3, form * distance / slope**2
    drift[RATIO] = 4 * SPLIT_FORM**2 * form * distance**3 / 3
    drift[SPLIT] = SPLIT_FORM**2 * form * distance
    return GaussianPrior(after.anchor + distance, mean, covariance + np.diag(drift))


def _expected(
    choices: Candidates, prior: GaussianPrior, target: float, chosen: Sequence[int], noise: float
) -> tuple[list[float], list[float]]:
    """Returns 90 % intervals of the loss and N* at the target, averaged over form errors."""
    variances = [
        Design(choices, prior, target, form=form, noise=noise).variance(chosen) for form in FORMS
    ]
    best, log_loss = along_frontier(prior.mean, math.log(target) - prior.anchor)
    log_params = float(best) + prior.anchor / 2 - math.log(6)

    def ends(middle: float, of_log: list[np.ndarray]) -> list[float]:
        half = _QUANTILE * math.sqrt(float(np.mean(of_log)))
        return [math.exp(middle - half), math.exp(middle + half)]

    return (
        ends(float(log_loss), [v.loss for v in variances]),
        ends(log_params, [v.size for v in variances]),
    )


def _notes(
    plan: Plan, budget: float, target: float, most: float, like: str | Path | None
) -> list[str]:
    notes = []
    if target / most > _FAR:
        notes.append(
            f"the target is {target / most:.3g} times the largest run: the choice of law form "
            "affects the forecast more than any run does"
        )
    distinct = plan.data.train_examples * plan.data.units_per_example
    longest = max(run.spec.units for run in plan.fitted)
    if longest > distinct:
        notes.append(
            f"{plan.data.name} has {distinct:.3g} distinct {plan.data.unit}, and the longest run "
            f"sees {longest:.3g}: repeated data is worth less, so add data in [data]"
        )
    if like is None:
        notes.append(
            "data, model and training are the quickstart's; --like EXPERIMENT.toml uses yours"
        )
    spent = sum(run.flops_spent for run in plan.fitted)
    if spent < 0.7 * budget:
        notes.append(f"the plan uses {spent:.3g} of {budget:.3g} FLOPs: more runs would add little")
    return notes
