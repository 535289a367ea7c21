"""`law="posterior"`: fits a table by updating the prior over published laws.

It is for few runs of an unknown kind, as after `scalax plan`. The result is an ensemble of joint
laws, drawn from the posterior; their spread is the uncertainty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.form_error import SPLIT_FORM, trunk_numbers
from scalax.fit.posterior import Posterior, update
from scalax.fit.prior import GaussianPrior, coefficients, log_loss, published_prior
from scalax.fit.rows import compute_rule, evenly, ranges
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.ensemble_law import EnsembleMember
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.runs.diagnostics import bits_warnings
from scalax.runs.table import Runs

if TYPE_CHECKING:
    from scalax.fit.settings import FitSettings

_FEWEST_ROWS = 3
"""Least number of rows."""
_MOST_ROWS = 150
"""Greatest number of rows used; of a larger table an even sample."""
_MEMBERS = 64
"""Members of the ensemble."""


def trunks_of(runs: Runs) -> np.ndarray:
    """Returns a number for each trunk, and another for each run without one, [rows]."""
    names = runs.columns.get("trunk")
    if names is None:
        return np.arange(len(runs))
    return trunk_numbers([n if isinstance(n, str) and n else None for n in names.tolist()])


def posterior_of(
    runs: Runs, metric: str = "loss", before: Callable[[float], GaussianPrior] = published_prior
) -> tuple[Posterior, Runs]:
    """Returns the posterior after a cleaned table, and the rows used: at most 150.

    Args:
        runs: The table.
        metric: The column to fit.
        before: The prior at an anchor; the rows decide its level.

    Raises:
        ScalaxError: Fewer than three rows.
    """
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows", where=runs.source, fix=f"give at least {_FEWEST_ROWS} runs"
        )
    if len(runs) > _MOST_ROWS:
        order = np.argsort(runs["flops"], kind="stable")
        picked = order[np.linspace(0, len(runs) - 1, _MOST_ROWS).round().astype(int)]
        runs = runs.where(picked).noted(f"used an even sample of {_MOST_ROWS} of {len(runs)} rows")
    return update(runs["flops"], runs["tokens"], runs[metric], trunks_of(runs), before), runs


def fit_posterior(runs: Runs, settings: FitSettings) -> Fit:
    """Fits a prepared table by updating the prior with its rows.

    Raises:
        ScalaxError: Too few rows, or a setting that applies to a single law.
    """
    from scalax.fit.calibration import student_quantile

    started = time.perf_counter()
    settings.reject_settings_of_one_law()
    found, used = posterior_of(runs, settings.metric)
    rule = compute_rule(used)
    theta = found.draws(_MEMBERS, settings.seed)
    listed = coefficients(theta, found.anchor, rule)
    quantile = student_quantile(settings.level, 30.0)
    form = math.sqrt(float(found.weights @ found.forms**2) / 3)
    deviation = float(found.weights @ found.noises)
    reach = math.exp(found.anchor)
    size, log_tokens = np.log(used["flops"] / used["tokens"]), np.log(used["tokens"])
    fitted = found.weights @ log_loss(found.theta, size, log_tokens, found.anchor)
    residuals = np.log(used[settings.metric]) - fitted
    notes = [
        *used.notes,
        "the prior is that of published language-model laws; where the rows are few it decides",
    ]
    doubted = np.flatnonzero(found.trust < 0.5)
    if len(doubted):
        lines = ", ".join(str(int(used.lines[k])) for k in doubted[:10])
        notes.append(f"{len(doubted)} rows count for little, as they fit no smooth law: {lines}")
    if settings.metric == "loss":
        notes += bits_warnings(used, residuals)
    return Fit(
        law=ENSEMBLE,
        coefficients=None,
        rows=len(runs),
        seconds=time.perf_counter() - started,
        level=settings.level,
        compute=rule,
        ranges=ranges(runs),
        residuals=evenly(np.sort(residuals)),
        settings=settings.to_json(),
        source=runs.source,
        notes=notes,
        members=[EnsembleMember("joint", "flat", 1 / len(listed), each) for each in listed],
        error=ForecastError(reach, deviation, form, 1.5, 1.0, quantile),
        split_error=ForecastError(reach, 0.0, SPLIT_FORM * form, 1.5, 1.0, quantile),
    )
