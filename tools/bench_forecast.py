"""Scores forecasts of the largest budgets from the smaller ones: error, coverage, interval score.

    python tools/bench_forecast.py                  public sweeps, one to three budgets hidden
    python tools/bench_forecast.py --develop        the same without their two largest budgets
    python tools/bench_forecast.py --synthetic 200  synthetic sweeps from several forms of the loss
    python tools/bench_forecast.py --learn          prior scale of the forecast error

The constants of `scalax.fit` were chosen with the second and third commands only: the two largest
budgets of a public sweep are for scoring, never for tuning. Prints JSON lines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from synthetic_sweeps import synthetic_sweep

from scalax.fit.backtest import run_backtest
from scalax.fit.budgets import budget_of
from scalax.fit.calibration import learned_scale
from scalax.fit.compare import FORMS, MISS, all_members
from scalax.fit.cost import Cost
from scalax.fit.estimate import fit
from scalax.runs.read import read_runs
from scalax.runs.table import Runs

DATA = Path(__file__).parent.parent / "experiments" / "data"


def public_sweeps() -> Iterator[tuple[str, Runs]]:
    """Yields the sweeps that ship with scalax; that of Porian et al. is split by its settings."""
    columns = {"params": "Model Size", "flops": "Training FLOP"}
    yield "chinchilla", read_runs(DATA / "chinchilla_figure4.csv", columns)
    yield "llama3", read_runs(DATA / "llama3_isoflops.csv", {"flops": "budget"})
    porian = read_runs(DATA / "porian_base_short_isoflops.csv", {"flops": "budget"})
    kinds = [f"{d}, {p}" for d, p in zip(porian["decay"], porian["param_count"], strict=True)]
    for kind in dict.fromkeys(kinds):
        yield f"porian {kind}", porian.where(np.asarray([k == kind for k in kinds]))


def without_largest(runs: Runs, count: int) -> Runs:
    """Returns the rows of all budgets except the ``count`` largest."""
    label = budget_of(runs["flops"])
    return runs.where(label <= label.max() - count)


def measure(runs: Runs, hide: int, law: str) -> dict[str, float] | None:
    """Scores the forecast of the largest budgets; None where too few budgets remain."""
    label = budget_of(runs["flops"])
    hidden = label > label.max() - hide
    if label.max() - hide < 1 or np.sum(~hidden) < 5:
        return None
    bootstrap = 0 if law == "auto" else 500
    fitted = fit(runs.where(~hidden), law, bootstrap=bootstrap, backtest=law == "auto")
    answers = fitted.predict(params=runs["params"][hidden], tokens=runs["tokens"][hidden])
    measured = runs["loss"][hidden]
    loss, low, high = (
        np.asarray([getattr(a, k) for a in answers]) for k in ("loss", "low", "high")
    )
    outside = np.maximum(low - measured, 0) + np.maximum(measured - high, 0)
    return {
        "error": float(np.mean(np.abs(loss / measured - 1))),
        "coverage": float(np.mean(outside == 0)),
        "interval_score": float(np.mean((high - low + MISS * outside) / measured)),
        "width": float(np.mean((high - low) / measured)),
    }


def print_scores(sweeps: Iterator[tuple[str, Runs]], law: str, hides: tuple[int, ...]) -> None:
    """Prints the scores of each sweep, then their summary, in percent."""
    means = []
    for name, runs in sweeps:
        scores = [m for hide in hides if (m := measure(runs, hide, law)) is not None]
        if not scores:
            continue
        mean = {key: float(np.mean([m[key] for m in scores])) for key in scores[0]}
        means.append(mean)
        print(
            json.dumps(
                {"sweep": name, "law": law} | {k: round(100 * v, 2) for k, v in mean.items()}
            )
        )
    table = {key: 100 * np.asarray([m[key] for m in means]) for key in means[0]}
    summary = {
        "median_error": np.median(table["error"]),
        "mean_error": table["error"].mean(),
        "coverage": table["coverage"].mean(),
        "mean_interval_score": table["interval_score"].mean(),
        "median_interval_score": np.median(table["interval_score"]),
        "median_width": np.median(table["width"]),
    }
    print(
        json.dumps(
            {"sweeps": len(means), "law": law} | {k: round(v, 2) for k, v in summary.items()}
        )
    )


def main() -> None:
    """Reads the options and prints the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--develop", action="store_true", help="drop the two largest budgets")
    parser.add_argument("--synthetic", type=int, metavar="COUNT", help="number of synthetic sweeps")
    parser.add_argument("--learn", action="store_true", help="print the prior scale of the error")
    parser.add_argument("--law", default="auto", help="auto, or a law form")
    parser.add_argument("--hide", type=int, nargs="*", default=[1, 2, 3], help="budgets to hide")
    options = parser.parse_args()
    public = list(public_sweeps())
    if options.learn:
        develop = [without_largest(runs, 2) for _, runs in public]
        backtests = [
            run_backtest(r, all_members(FORMS, r), metric="loss", cost=Cost()) for r in develop
        ]
        print(json.dumps({"prior_scale": round(learned_scale(backtests), 3)}))
    elif options.synthetic:
        synthetic = (synthetic_sweep(seed) for seed in range(options.synthetic))
        print_scores(((name, runs) for runs, name in synthetic), options.law, tuple(options.hide))
    else:
        cut = 2 if options.develop else 0
        sweeps = ((n, without_largest(r, cut) if cut else r) for n, r in public)
        print_scores(sweeps, options.law, tuple(options.hide))


if __name__ == "__main__":
    main()
