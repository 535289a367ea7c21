"""Recovers known coefficients without noise: random truths of a law, and a fit of each.

    python tools/recovery.py chinchilla 1000

Coefficients are drawn uniformly from the law's typical ranges (in logarithms for sizes), and 96
rows uniformly in the logarithm of each column. The script prints one JSON object per law: how many
truths were recovered to a relative error of 1e-6, how many others came with the identifiability
warning, and how many failed.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from scalax import registry
from scalax.fit.estimate import fit
from scalax.laws.base import Law
from scalax.laws.typical_values import draw_columns, draw_truth
from scalax.runs.table import Runs

ROWS = 96
EXACT = 1e-6


def truth_and_runs(law: Law, rng: np.random.Generator) -> tuple[dict[str, float], Runs]:
    """Draws one truth of a law, and runs that follow it exactly."""
    truth = draw_truth(law, rng)
    columns = draw_columns(law, rng, ROWS, ("params", "tokens"))
    columns.setdefault("flops", 6 * columns["params"] * columns["tokens"])
    columns["loss"] = np.asarray(law.loss(np, truth, columns))
    return truth, Runs.from_columns(columns, source=f"truth of {law.name}")


def recover(name: str, count: int, seed: int = 0) -> dict[str, float | str | list[int]]:
    """Counts the truths of a law that a fit recovers."""
    law = registry.get("law", name)
    exact = warned = 0
    failed, worst = [], 0.0
    for number in range(count):
        truth, runs = truth_and_runs(law, np.random.default_rng([seed, number]))
        result = fit(runs, name, backtest=False)
        assert result.coefficients is not None
        miss = max(abs(result.coefficients[k] / v - 1) for k, v in truth.items())
        if miss <= EXACT:
            exact += 1
            worst = max(worst, miss)
        elif any("identifiab" in n for n in result.notes):
            warned += 1
        else:
            failed.append(number)
    return {
        "law": name, "truths": count, "exact": exact, "warned": warned, "failed": len(failed),
        "failed_seeds": failed[:10], "worst_exact": worst,
    }  # fmt: skip


def main() -> None:
    """Prints one JSON object per law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("laws", help="comma-separated names, or all")
    parser.add_argument("count", type=int, help="number of truths per law")
    arguments = parser.parse_args()
    names = (
        [e.name for e in registry.entries("law") if "loss" not in e.load().columns]
        if arguments.laws == "all"
        else arguments.laws.split(",")
    )
    for name in names:
        print(json.dumps(recover(name, arguments.count)), flush=True)


if __name__ == "__main__":
    main()
