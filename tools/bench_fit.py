"""Benchmarks the fit against BFGS and checks what it recovers; prints JSON.

    python tools/bench_fit.py            every row that needs no hidden data, a minute or two
    python tools/bench_fit.py --truths 1000   recovery from the full number of truths (slow)

Each row is {name, reference, ours, ratio, target, met}. A ratio above 1 means ours is better; it is
null without a reference. met is null where the target cannot be measured here. The reference is
scipy's BFGS on the same objective with finite-difference gradients, as papers run it. The benchmark
times a few BFGS starts and scales the time to all starts; the row's name says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_forecast import measure, public_sweeps
from bench_row import row
from recovery import recover

from scalax import registry
from scalax.fit.estimate import fit
from scalax.runs.clean import clean
from scalax.runs.table import Runs

ROOT = Path(__file__).parent.parent
DATA = ROOT / "experiments" / "data" / "chinchilla_figure4.csv"
STARTS, BOOTSTRAPS, TIMED = 4500, 4000, 12
OPTIMUM = 0.0010182740180


def reference(runs: Runs, starts: int, seed: int = 0) -> tuple[float, float]:
    """Returns the seconds per BFGS start on the Huber objective, and the least objective reached.

    The grid of starts is that of Hoffmann et al. 2022, appendix D.3: alpha and beta from 0 to 2,
    e from -1 to 1, a and b from 0 to 25.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    log_n, log_d, log_l = (np.log(runs[name]) for name in ("params", "tokens", "loss"))

    def objective(theta: np.ndarray) -> float:
        a, b, e, alpha, beta = theta
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        r = np.abs(logsumexp(terms, axis=0) - log_l)
        return float(np.sum(np.where(r <= 1e-3, 0.5 * r * r, 1e-3 * (r - 5e-4))))

    grid = np.asarray(
        np.meshgrid([0, 5, 10, 15, 20, 25], [0, 5, 10, 15, 20, 25], [-1, -0.5, 0, 0.5, 1],
                    [0, 0.5, 1, 1.5, 2], [0, 0.5, 1, 1.5, 2])
    ).reshape(5, -1).T  # fmt: skip
    picked = grid[np.random.default_rng(seed).choice(len(grid), starts, replace=False)]
    began = time.perf_counter()
    least = min(float(minimize(objective, each, method="BFGS").fun) for each in picked)
    return (time.perf_counter() - began) / starts, least


def best_of(count: int, function: Callable[[], Any]) -> float:
    """Returns the least seconds of several calls: other work on the machine only adds time."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def hoffmann_rows(runs: Runs) -> list[dict[str, Any]]:
    """Rows for the single fit, the fit with its bootstrap, and the whole cold command."""
    each, _ = reference(runs, TIMED)
    result = fit(runs, "chinchilla", backtest=False)
    single = best_of(20, lambda: fit(runs, "chinchilla", backtest=False))
    drawn = best_of(3, lambda: fit(runs, "chinchilla", backtest=False, bootstrap=BOOTSTRAPS))
    command = [
        sys.executable, "-m", "scalax", "fit", str(DATA), "--drop-worst", "5", "--bootstrap",
        str(BOOTSTRAPS), "--columns", "params=Model Size,flops=Training FLOP", "--json",
        "--law", "chinchilla", "--no-backtest",
    ]  # fmt: skip
    cold = best_of(2, lambda: subprocess.run(command, check=True, capture_output=True, cwd=ROOT))
    usual, boot = STARTS * each, (STARTS + BOOTSTRAPS) * each
    basis = f"reference: {TIMED} BFGS starts timed, scaled"
    return [
        row("Chinchilla's 240 points: objective", result.objective, OPTIMUM,
            result.objective is not None and result.objective <= OPTIMUM, 0.001018274071),
        row(f"Chinchilla's 240 points: seconds, warm ({basis} to {STARTS})",
            single, 0.025, single <= 0.025, usual),
        row(f"that fit with {BOOTSTRAPS} bootstraps: seconds, warm ({basis} to "
            f"{STARTS} + {BOOTSTRAPS})", drawn, 1.0, drawn <= 1.0, boot),
        row(f"the whole cold command with {BOOTSTRAPS} bootstraps: seconds ({basis} to "
            f"{STARTS} + {BOOTSTRAPS})", cold, 3.0, cold <= 3.0, boot),
    ]  # fmt: skip


def million_rows() -> list[dict[str, Any]]:
    """Rows for a million noise-free runs: seconds, and the worst relative coefficient error."""
    rng = np.random.default_rng(0)
    truth = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    x = {
        "params": 10 ** rng.uniform(7, 10, 1_000_000),
        "tokens": 10 ** rng.uniform(9, 12, 1_000_000),
    }
    loss = registry.get("law", "chinchilla").loss(np, truth, x)
    runs = Runs.from_columns({**x, "loss": loss})
    began = time.perf_counter()
    estimated = fit(runs, "chinchilla", backtest=False).coefficients
    seconds = time.perf_counter() - began
    assert estimated is not None
    miss = max(abs(estimated[k] / v - 1) for k, v in truth.items())
    name = "a million synthetic rows, Chinchilla form"
    return [
        row(f"{name}: seconds", seconds, 5.0, seconds < 5),
        row(f"{name}: worst relative error", miss, 1e-6, miss <= 1e-6),
    ]


def recovery_rows(truths: int) -> list[dict[str, Any]]:
    """Rows for every law: the share of truths recovered to 1e-6 or reported unidentifiable."""
    rows = []
    for entry in registry.entries("law"):
        if "loss" in entry.load().columns:  # a second step, fitted to another metric
            continue
        counts = recover(entry.name, truths)
        share = 1 - int(str(counts["failed"])) / truths
        name = f"recovery without noise: {entry.name}, {truths} truths, exact or warned of (share)"
        rows.append(row(name, share, 1.0, share == 1.0))
    return rows


def forecast_rows() -> list[dict[str, Any]]:
    """Rows for forecasts on the shipped public sweeps; the targets are for hidden ones."""
    scores: dict[str, list[dict[str, float]]] = {"auto": [], "chinchilla": []}
    for _, runs in public_sweeps():
        for law, per_sweep in scores.items():
            each = [m for hide in (1, 2, 3) if (m := measure(runs, hide, law)) is not None]
            per_sweep.append({key: 100 * float(np.mean([m[key] for m in each])) for key in each[0]})
    table = {
        law: {key: np.asarray([s[key] for s in per_sweep]) for key in per_sweep[0]}
        for law, per_sweep in scores.items()
    }
    ours, usual = table["auto"], table["chinchilla"]
    where = "four public sweeps, 1 to 3 budgets hidden (the target is for hidden sweeps)"
    rows = []
    for name, key, how, target in (
        ("median forecast error, %", "error", np.median, 1.0),
        ("mean forecast error, %", "error", np.mean, 1.8),
        ("mean interval score, % of the loss", "interval_score", np.mean, 12.0),
        ("median interval score, % of the loss", "interval_score", np.median, 5.0),
    ):
        value, standard = float(how(ours[key])), float(how(usual[key]))
        rows.append(
            row(f"{name}: {where}; reference: bootstrap with noise", value, target, None, standard)
        )
    covered, usual_covered = (float(np.mean(t["coverage"])) for t in (ours, usual))
    coverage = row(
        f"coverage of the 90 % interval, %: {where}", covered, [85, 97], None, usual_covered
    )
    return [*rows, {**coverage, "ratio": abs(usual_covered - 90) / max(abs(covered - 90), 1e-9)}]


def main() -> None:
    """Prints the list of rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truths", type=int, default=20, help="random true coefficients per law")
    arguments = parser.parse_args()
    hoffmann = clean(next(iter(public_sweeps()))[1], drop_worst=5)
    rows = [
        *hoffmann_rows(hoffmann),
        *million_rows(),
        *recovery_rows(arguments.truths),
        *forecast_rows(),
    ]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
