"""`plan`: from a budget and a target to the pilot runs, the experiment file and what to expect.

It trains nothing, and imports no jax.
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
LEVEL = 0.9
_QUANTILE = 1.6449
_NOISE = 0.002
"""Relative deviation of a loss where no runs tell it: that of repeated small language models."""
_FAR = 1e4
_DRAWS = 256
_SHRINK = 0.97


@dataclass(frozen=True)
class Pilot:
    """Pilot runs, and what they will tell.

    Attributes:
        plan: The runs, as `scalax run` will train them.
        target: Compute of the forecast, in FLOPs.
        loss: ``[low, high]`` expected of the loss at the target after the runs, at 90 %.
        params: The same for N*.
        text: The experiment file.
        notes: What the reader should know.
    """

    plan: Plan
    target: float
    loss: list[float]
    params: list[float]
    text: str
    notes: list[str]

    @property
    def flops(self) -> float:
        """What the runs cost together, in FLOPs."""
        return sum(run.flops_spent for run in self.plan.fitted)

    def save(self, path: str | Path) -> None:
        """Writes the experiment file."""
        write_text(Path(path), self.text)

    def to_json(self, experiment: str | None = None) -> dict[str, Any]:
        """As `scalax plan --json` prints it.

        Args:
            experiment: The file's path; its text where none was written.
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
    """Chooses the pilot runs under a budget that make the forecast at a target sharpest.

    Args:
        law: What is believed before: ``"prior"``, a published law's name, a fit or its file.
        budget: FLOPs that the runs may cost together, a trunk paid once.
        target: Compute of the forecast, in FLOPs.
        max_flops: Of one run; by default the budget.
        sizes: The only sizes to consider, in params.
        runs: The runs already trained, as a table in any form that `scalax.fit` takes.
        like: An experiment file whose data, model and training the plan takes.

    Returns:
        The runs and what they will tell.

    Raises:
        ScalaxError: A number is not positive, the law has no loss of params and tokens, or
            nothing is affordable.

    Example:
        >>> found = plan_pilot("prior", budget=1e15, target=1e17)
        >>> found.flops <= 1e15
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
    belief, noise, form = _belief(law, math.log(most), rows)
    trunks = base.train.schedule == "wsd"
    found = candidates(
        family,
        base.model.options,
        data.spec,
        most_flops=most,
        best_size=math.exp((math.log(most) - belief.mean[RATIO]) / 2),
        sizes=sizes,
        decay=base.train.decay if trunks else 1.0,
    )
    design = Design(found, belief, target, form=form, noise=noise)
    chosen = design.choose(budget)
    if not chosen:
        raise ScalaxError(
            f"{budget:.3g} FLOPs buy no run that would tell anything",
            where="--budget",
            fix=f"the cheapest costs {found.flops.min():.3g}: give more, or smaller --sizes",
        )
    loss, params = _expected(found, belief, target, chosen, noise)
    shrink = 1.0
    while True:  # steps are whole, so that what runs cost is known only once they are laid out
        points = [
            (float(found.params[k]), float(f"{shrink * found.tokens[k]:.4g}")) for k in chosen
        ]
        text = experiment_text(base, points, trunks, budget, target, loss, params)
        laid_out = expand(parse_text(text), family, data.spec)
        spent = sum(run.flops_spent for run in laid_out.fitted)
        if spent <= budget and max(run.flops for run in laid_out.fitted) <= most:
            break
        shrink *= _SHRINK
    notes = [*(rows.notes if rows else ()), *_notes(laid_out, budget, target, most, like)]
    return Pilot(laid_out, target, loss, params, text, notes)


def _belief(
    law: str | ScalingLaw, anchor: float, runs: Runs | None
) -> tuple[GaussianPrior, float, float]:
    """The belief at an anchor at or above this one, the noise, and the form error to plan by."""

    def before(at: float) -> GaussianPrior:
        if law == PRIOR:
            return published_prior(at)
        known = law
        if isinstance(known, str):
            known = read_fit(known) if known.endswith(".json") else published_fit(known)
        return prior_of_law(known, at)

    if runs is None:
        return before(anchor), _NOISE, FORMS[0]
    after, _ = posterior_of(runs, before=before)
    noise = float(after.weights @ after.noises)
    return _raised(after, anchor), noise, FORMS[0]


def _raised(after: Posterior, anchor: float) -> GaussianPrior:
    """The belief after runs, at an anchor at or above theirs; the form's drift comes in between."""
    far = max(anchor - after.anchor, 0.0)
    theta = shift_anchor(after.draws(_DRAWS), far)
    mean, covariance = theta.mean(axis=0), np.cov(theta.T)
    form = float(after.weights @ after.forms**2)
    slope = math.exp(mean[1])
    drift = np.zeros(6)
    drift[0], drift[1] = form * far**3 / 3, form * far / slope**2
    drift[RATIO], drift[SPLIT] = 4 * SPLIT_FORM**2 * form * far**3 / 3, SPLIT_FORM**2 * form * far
    return GaussianPrior(after.anchor + far, mean, covariance + np.diag(drift))


def _expected(
    found: Candidates, belief: GaussianPrior, target: float, chosen: Sequence[int], noise: float
) -> tuple[list[float], list[float]]:
    """90 % intervals of the loss and N* at the target, over form errors small and large."""
    doubts = [Design(found, belief, target, form=form, noise=noise).doubt(chosen) for form in FORMS]
    far = math.log(target) - belief.anchor
    best, log_loss = along_frontier(belief.mean, far)
    log_params = float(best) + belief.anchor / 2 - math.log(6)

    def ends(middle: float, variances: list[np.ndarray]) -> list[float]:
        half = _QUANTILE * math.sqrt(float(np.mean(variances)))
        return [math.exp(middle - half), math.exp(middle + half)]

    return (
        ends(float(log_loss), [d.loss for d in doubts]),
        ends(log_params, [d.size for d in doubts]),
    )


def _notes(
    plan: Plan, budget: float, target: float, most: float, like: str | Path | None
) -> list[str]:
    notes = []
    if target / most > _FAR:
        notes.append(
            f"the target is {target / most:.3g} times the largest run: the form of the law "
            "decides there more than any run can"
        )
    distinct = plan.data.train_examples * plan.data.units_per_example
    longest = max(run.spec.units for run in plan.fitted)
    if longest > distinct:
        notes.append(
            f"{plan.data.name} has {distinct:.3g} distinct {plan.data.unit}, and the longest run "
            f"sees {longest:.3g}: repeats are worth less; name more data in [data]"
        )
    if like is None:
        notes.append(
            "data, model and training are the quickstart's: --like EXPERIMENT.toml takes yours"
        )
    spent = sum(run.flops_spent for run in plan.fitted)
    if spent < 0.7 * budget:
        notes.append(f"{spent:.3g} FLOPs of the {budget:.3g} are used: more runs would add little")
    return notes
