"""Recovers known coefficients without noise: random truths of a law, and a fit of each.

    python tools/recovery.py chinchilla 1000

A truth is drawn evenly over the ranges below (in logarithms for sizes); 96 rows are drawn evenly in
the logarithm of each column. Prints one JSON object a law: how many truths were recovered to 1e-6
relative, how many have a scaled Jacobian's condition of 1e8 or more and carry the warning, and how
many failed. It has no noise and no defence against it.
"""

from __future__ import annotations

import argparse
import json
import math

import numpy as np

from scalax import registry
from scalax.fit.estimate import fit
from scalax.laws.base import Law
from scalax.runs.table import Runs

ROWS = 96
EXACT = 1e-6

_USUAL = {
    "E": (1.0, 2.0), "A": (1e2, 1e3), "B": (1e2, 3e3), "a": (1e2, 1e3), "b": (1e2, 3e3),
    "e": (1.0, 2.0), "alpha": (0.25, 0.5), "beta": (0.25, 0.5),
}  # fmt: skip
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "bounded": {"E": (0.01, 0.3), "H": (0.5, 0.95), "K": (1e18, 1e22), "alpha": (0.1, 1.0)},
    "broken-power": {
        "A": (0.3, 3.0), "K": (1e18, 1e21), "alpha": (0.05, 0.3), "turn": (0.05, 0.3),
        "width": (0.1, 1.5),
    },
    "data-constrained": {"R_D": (2.0, 40.0), "R_N": (2.0, 20.0)},
    "joint": {"A": (1e2, 1e4), "B": (1e2, 1e4), "gamma": (0.4, 1.5)},
    "kaplan": {
        "Nc": (1e12, 1e15), "Dc": (1e12, 1e15), "alpha_N": (0.05, 0.15), "alpha_D": (0.05, 0.15),
    },
    "learning-curve": {"A": (0.3, 2.0), "C": (0.05, 0.5), "alpha": (0.2, 0.8)},
    "m4": {
        "E": (0.5, 1.5), "E0": (6.0, 11.0), "K": (1e15, 1e20), "gamma": (0.1, 0.3),
        "alpha": (0.05, 2.0),
    },
    "moe": {
        "c": (0.1, 0.5), "d": (0.1, 5.0), "lam": (-0.6, -0.1), "delta": (0.05, 0.3),
        "gamma": (0.1, 0.3),
    },
    "overtraining": {"a": (50.0, 400.0), "b": (50.0, 400.0), "eta": (0.09, 0.2)},
    "power-flops": {"A": (1e2, 1e4), "alpha": (0.1, 0.3)},
    "precision": {"gamma_w": (1.0, 4.0), "gamma_a": (1.0, 4.0), "gamma_kv": (0.5, 3.0)},
}  # fmt: skip
COLUMNS = {
    "params": (1e7, 1e11), "params_active": (1e6, 9e6), "tokens": (1e9, 1e13),
    "flops": (1e17, 1e24), "unique_tokens": (1e9, 1e12), "bits_weights": (3.0, 16.0),
    "bits_activations": (3.0, 16.0), "bits_cache": (3.0, 16.0), "lr_area": (0.1, 30.0),
    "lr_annealing": (0.001, 0.5),
}  # fmt: skip


def truth_and_runs(law: Law, rng: np.random.Generator) -> tuple[dict[str, float], Runs]:
    """One truth of a law and the runs that follow it exactly."""
    ranges = {**_USUAL, **RANGES.get(law.name, {})}
    truth = {}
    for c in law.coefficients:
        low, high = ranges[c.name]
        wide = low > 0 and high / low > 5
        truth[c.name] = (
            math.exp(rng.uniform(math.log(low), math.log(high))) if wide else rng.uniform(low, high)
        )
    names = dict.fromkeys(["params", "tokens", *law.columns])
    columns = {name: np.exp(rng.uniform(*np.log(COLUMNS[name]), size=ROWS)) for name in names}
    columns.setdefault("flops", 6 * columns["params"] * columns["tokens"])
    columns["loss"] = np.asarray(law.loss(np, truth, columns))
    return truth, Runs.from_columns(columns, source=f"truth of {law.name}")


def recover(name: str, count: int, seed: int = 0) -> dict[str, float | str | list[int]]:
    """How many of so many truths of a law are found again."""
    law = registry.get("law", name)
    exact = warned = 0
    failed, worst = [], 0.0
    for number in range(count):
        truth, runs = truth_and_runs(law, np.random.default_rng([seed, number]))
        found = fit(runs, name)
        assert found.coefficients is not None
        miss = max(abs(found.coefficients[k] / v - 1) for k, v in truth.items())
        if miss <= EXACT:
            exact += 1
            worst = max(worst, miss)
        elif any("identifiab" in n for n in found.notes):
            warned += 1
        else:
            failed.append(number)
    return {
        "law": name, "truths": count, "exact": exact, "warned": warned, "failed": len(failed),
        "failed_seeds": failed[:10], "worst_exact": worst,
    }  # fmt: skip


def main() -> None:
    """Prints a JSON object a law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("laws", help="names, comma-separated, or all")
    parser.add_argument("count", type=int)
    asked = parser.parse_args()
    names = (
        [e.name for e in registry.entries("law") if "loss" not in e.load().columns]
        if asked.laws == "all"
        else asked.laws.split(",")
    )
    for name in names:
        print(json.dumps(recover(name, asked.count)), flush=True)


if __name__ == "__main__":
    main()
