"""Tables that tests fit: the public sweeps, and exact ones from a law. It tests nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scalax import registry
from scalax.runs.read import read_runs
from scalax.runs.table import Runs

DATA = Path(__file__).parent.parent.parent / "experiments" / "data"
CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def hoffmann() -> Runs:
    """Hoffmann et al.'s Figure 4."""
    columns = {"params": "Model Size", "flops": "Training FLOP"}
    return read_runs(DATA / "chinchilla_figure4.csv", columns)


def llama3() -> Runs:
    """Llama 3's isoFLOPs."""
    return read_runs(DATA / "llama3_isoflops.csv", {"flops": "budget"})


def isoflops(
    law: str = "chinchilla",
    truth: dict[str, float] = CHINCHILLA,
    *,
    budgets: int = 6,
    noise: float = 0.0,
    seed: int = 0,
) -> Runs:
    """Nine points at each of some budgets from 1e18 FLOPs, four times apart."""
    flops = np.repeat(1e18 * 4.0 ** np.arange(budgets), 9)
    params = np.sqrt(flops / 120) * np.tile(np.geomspace(0.25, 4, 9), budgets)
    x = {"params": params, "tokens": flops / (6 * params)}
    loss = np.asarray(registry.get("law", law).loss(np, truth, x))
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(loss)))
    return Runs.from_columns({**x, "flops": flops, "loss": loss})
