"""`law="posterior"`: fits a table by updating the prior over published laws.

Use it for few runs, such as those of `scalax plan`. The result is an ensemble of joint laws drawn
from the posterior; their spread is the uncertainty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from scalax.array_types import Int
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
"""Greatest number of rows used; a larger table is replaced by an even sample of its rows."""
_MEMBERS = 64
"""Number of draws that form the ensemble."""


def trunks_of(runs: Runs) -> Int[np.ndarray, " rows"]:
    """Returns the trunk number of each row, [rows]; rows without a trunk have distinct numbers."""
    names = runs.columns.get("trunk")
    if names is None:
        return np.arange(len(runs))
    return trunk_numbers([n if isinstance(n, str) and n else None for n in names.tolist()])


def posterior_of(
    runs: Runs, metric: str = "loss", before: Callable[[float], GaussianPrior] = published_prior
) -> tuple[Posterior, Runs]:
    """Returns the posterior given a cleaned table, and the rows used: at most 150.

    Args:
        runs: The table.
        metric: The column to fit.
        before: The prior as a function of the anchor; its level is replaced by a broad one.

    Raises:
        ScalaxError: Fewer than three rows.
    """
    if len(runs) < _FEWEST_ROWS:
        raise ScalaxError(
            f"{len(runs)} usable rows (expected {_FEWEST_ROWS} or more)",
            where=runs.source,
            fix=f"give at least {_FEWEST_ROWS} runs",
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
    posterior, used = posterior_of(runs, settings.metric)
    rule = compute_rule(used)
    theta = posterior.draws(_MEMBERS, settings.seed)
    listed = coefficients(theta, posterior.anchor, rule)
    quantile = student_quantile(settings.level, 30.0)
    form = math.sqrt(float(posterior.weights @ posterior.forms**2) / 3)
    deviation = float(posterior.weights @ posterior.noises)
    reach = math.exp(posterior.anchor)
    size, log_tokens = np.log(used["flops"] / used["tokens"]), np.log(used["tokens"])
    fitted = posterior.weights @ log_loss(posterior.theta, size, log_tokens, posterior.anchor)
    residuals = np.log(used[settings.metric]) - fitted
    notes = [
        *used.notes,
        "the prior comes from published language-model laws; it dominates where rows are few",
    ]
    distrusted = np.flatnonzero(posterior.trust < 0.5)
    if len(distrusted):
        lines = ", ".join(str(int(used.lines[k])) for k in distrusted[:10])
        notes.append(f"{len(distrusted)} rows have little weight, as no smooth law fits: {lines}")
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
