"""Synthetic runs of a known law with realistic errors, to rehearse a study.

It trains nothing and fits nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.fit.form_error import trunk_numbers
from scalax.predict.protocol import ScalingLaw
from scalax.runs.table import Runs
from scalax.simulate.designs import usual_design
from scalax.simulate.troubles import Drift, Troubles, add_troubles


def synthetic_runs(
    law: ScalingLaw,
    troubles: Troubles | None = None,
    *,
    design: str | Path | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Returns the rows of a runs table, as if the losses of a sweep followed the law.

    Args:
        law: The law of the losses.
        troubles: Sizes of the errors; by default only noise of 0.3 %.
        design: An experiment file that states the runs; by default `usual_design`.
        seed: Seed of all random numbers.

    Returns:
        One row per run, as `scalax run` writes it.

    Raises:
        ScalaxError: The law has no loss of params and tokens, or the design is invalid.
    """
    troubles = troubles or Troubles()
    fit = law.require_loss()
    rng = np.random.default_rng(seed)
    rows = _design_rows(design) if design is not None else _usual_rows(law, seed, rng)
    columns = {
        name: np.asarray([row[name] for row in rows], float)
        for name in ("params", "tokens", "flops", *fit.form.columns)
        if name in rows[0]
    }
    with np.errstate(all="ignore"):
        log_loss = np.log(fit.loss(**fit.form.complete(columns)) * np.ones(len(rows)))
    if not np.isfinite(log_loss).all():
        raise ScalaxError(
            f"the loss of {fit.law} is not finite for these runs",
            where="--law",
            fix="choose another law or another design",
        )
    drift = Drift.draw(troubles.drift, float(columns["flops"].min()), rng)
    trunks = trunk_numbers([row.get("trunk") for row in rows])
    measured = np.exp(add_troubles(log_loss + drift(columns["flops"]), trunks, troubles, rng))
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
    """Returns a table of synthetic runs, ready to fit; for the arguments see `synthetic_runs`.

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


def _design_rows(path: str | Path) -> list[dict[str, Any]]:
    """Returns the rows of an experiment's runs, without losses."""
    from scalax.sweep.run import prepare

    prepared = prepare(path)
    return [run.row(prepared.plan.data).to_dict() for run in prepared.plan.runs]
