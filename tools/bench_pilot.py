"""Compares pilot runs chosen by `scalax plan` with an isoFLOP grid of the same cost.

    python tools/bench_pilot.py                     the rows of make bench-simulator, as JSON
    python tools/bench_pilot.py --estimators        errors of each estimator on both designs
    python tools/bench_pilot.py --first 1000        other studies, for development
    python tools/bench_pilot.py --gentle            no badly tuned runs and no loss spikes

Each study simulates a law outside the prior: one of five forms, with coefficients from wider ranges
than those of the papers and a drift that grows towards the target. Its runs are noisy, and some are
badly tuned or have a loss spike. Both designs cost the budget of the study and share trunks. They
forecast N* and the loss at a hundred times that budget. The constants of planner and estimators
were chosen on other studies (numbers from 1000).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from synthetic_sweeps import KINDS, make_truth

from scalax.errors import ScalaxError
from scalax.fit.classical import classical_split
from scalax.fit.estimate import fit
from scalax.fit.form_error import trunk_numbers
from scalax.fit.outliers import drop_outliers
from scalax.fit.settings import SEVERAL_LAWS
from scalax.plan.pilot import plan_pilot
from scalax.runs.table import Runs
from scalax.simulate.troubles import Drift, Troubles, add_troubles

STUDIES = 200
BEYOND = 100.0
"""Ratio of the forecast's compute to the pilot budget."""
TARGET = 0.6
"""Greatest ratio of our error to the reference's."""
DRIFT = 0.003
MISTUNED, OUTLIERS = 0.1, 0.02

# The grid: five budgets half a decade apart, each with seven sizes over a factor of 16, centred on
# 20 tokens per parameter. Its parabolas were the best among grids of four or five budgets, seven or
# nine sizes, and factors of 16, 32 and 64.
_BUDGETS, _APART, _SIZES, _SPAN, _RATIO = 5, 10**0.5, 7, 16.0, 20.0
_DECAY = 0.2

Answer = tuple[float, float]
"""N* and loss at the target."""
Points = tuple[np.ndarray, np.ndarray]
"""Params [runs] and tokens [runs]."""


@dataclass(frozen=True)
class Study:
    """A simulated law with noisy runs, and a budget for pilot runs.

    Attributes:
        kind: Form of the law, one of `KINDS`.
        budget: FLOPs of the pilot runs.
        loss: The true loss, as a function of params and tokens.
        noise: Relative deviation of a measured loss.
        number: Number of the study; seeds the noise of its runs.
    """

    kind: str
    budget: float
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    noise: float
    number: int

    def measured(self, points: Points) -> Runs:
        """Returns simulated measurements of runs at these points."""
        params, tokens = points
        rng = np.random.default_rng(self.number)
        trunks = trunk_numbers([f"{n:.6g}" for n in params.tolist()])
        troubles = Troubles(self.noise, MISTUNED, OUTLIERS)
        loss = np.exp(add_troubles(np.log(self.loss(params, tokens)), trunks, troubles, rng))
        names = np.asarray([f"n{n:.6g}" for n in params.tolist()], object)
        columns = {"params": params, "tokens": tokens, "flops": 6 * params * tokens, "loss": loss}
        return Runs.from_columns({**columns, "trunk": names}, source=f"study {self.number}")

    def answer(self) -> Answer:
        """Returns the true N* and loss at the target."""
        params = np.geomspace(1e4, 1e14, 40001)
        loss = self.loss(params, BEYOND * self.budget / 6 / params)
        best = int(np.argmin(loss))
        return float(params[best]), float(loss[best])


def make_study(number: int) -> Study:
    """Returns a study. Budgets are powers of sqrt(10), so that several studies share a plan."""
    rng = np.random.default_rng(20_000 + number)
    kind = str(rng.choice(KINDS))
    size = 10 ** rng.uniform(7, 8.5)
    truth = make_truth(kind, size, rng)
    budget = 10 ** (round(2 * math.log10(120 * size**2 * 10 ** rng.uniform(-0.5, 0.5))) / 2)
    noise = 10 ** rng.uniform(-3, -2)
    drift = Drift.draw(DRIFT, budget / 1000, rng)

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.asarray(truth(params, tokens) * np.exp(drift(6 * params * tokens)))

    return Study(kind, budget, loss, noise, number)


def cost(points: Points) -> float:
    """Returns the FLOPs of runs by 6ND; runs of the same size share a trunk."""
    params, tokens = points
    total = 0.0
    for size in np.unique(params):
        counts = np.sort(tokens[params == size])
        total += 6 * size * float(counts[-1] + _DECAY * counts[:-1].sum())
    return total


def grid(budget: float) -> Points:
    """Returns the isoFLOP grid that costs the budget; curves have sizes in common, for trunks."""
    step = _SPAN ** (1 / (_SIZES - 1))

    def at(top: float) -> Points:
        params, tokens = [], []
        anchor = math.sqrt(top / 6 / _RATIO)
        for flops in top / _APART ** np.arange(_BUDGETS):
            rung = round(math.log(math.sqrt(flops / 6 / _RATIO) / anchor) / math.log(step))
            for k in range(_SIZES):
                size = anchor * step ** (rung + k - _SIZES // 2)
                params.append(round(size))
                tokens.append(flops / 6 / round(size))
        return np.asarray(params, float), np.asarray(tokens)

    low, high = budget / 1e4, budget
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if cost(at(middle)) > budget else (middle, high)
    return at(low)


def planned(budget: float) -> Points:
    """Returns the runs that `scalax plan --law prior` chooses."""
    pilot = plan_pilot("prior", budget, BEYOND * budget)
    runs = pilot.plan.fitted
    points = (
        np.asarray([float(run.counts.params) for run in runs]),
        np.asarray([float(run.spec.units) for run in runs]),
    )
    assert pilot.flops <= budget and cost(points) <= budget
    return points


def by_fit(law: str) -> Callable[[Runs, float], Answer]:
    """Returns the estimator that fits a law."""

    def answer(runs: Runs, target: float) -> Answer:
        allocation = fit(runs, law, backtest=law in SEVERAL_LAWS).allocate(target)
        assert allocation.loss is not None
        return allocation.params, allocation.loss

    return answer


def by_parabolas(runs: Runs, target: float) -> Answer:
    """Estimates N* from isoFLOP minima, and the loss from a power law through their losses.

    Falls back to the parametric fit for a quantity that the minima do not give.
    """
    params, loss = by_fit("chinchilla")(runs, target)
    try:
        split = classical_split(runs, "isoflop")
    except ScalaxError:
        return params, loss
    params = split.params(target)
    minima = {"flops": [], "loss": []}
    for flops, best in split.points:
        rows = np.abs(np.log(runs["flops"] / flops)) < 0.05
        curve = np.polyfit(np.log(runs["params"][rows]), np.log(runs["loss"][rows]), 2)
        minima["flops"].append(flops)
        minima["loss"].append(math.exp(np.polyval(curve, math.log(best))))
    if len(minima["flops"]) >= 3:
        size = {"params": minima["flops"], "tokens": minima["flops"]}
        line = fit(Runs.from_columns({**size, **minima}), "power-flops", backtest=False)
        loss = float(line.loss(flops=target))
    return params, loss


ESTIMATORS: dict[str, Callable[[Runs, float], Answer]] = {
    "parabolas": by_parabolas,
    "chinchilla": by_fit("chinchilla"),
    "auto": by_fit("auto"),
    "posterior": by_fit("posterior"),
}
PLANS: dict[float, dict[str, Points]] = {}


def errors(task: tuple[int, str, str, bool]) -> tuple[float, float]:
    """Returns the absolute errors of log N* and log loss for a study, design and estimator."""
    number, design, estimator, cleaned = task
    study = make_study(number)
    runs = study.measured(PLANS[study.budget][design])
    if cleaned:
        runs = drop_outliers(runs, "loss")
    params, loss = study.answer()
    estimate = ESTIMATORS[estimator](runs, BEYOND * study.budget)
    return abs(math.log(estimate[0] / params)), abs(math.log(estimate[1] / loss))


def measure(
    setups: list[tuple[str, str, bool]], numbers: range
) -> dict[tuple[str, str, bool], np.ndarray]:
    """Returns errors [studies, 2] by design, estimator and whether outliers were dropped."""
    for budget in {make_study(number).budget for number in numbers}:
        if budget not in PLANS:
            PLANS[budget] = {"plan": planned(budget), "grid": grid(budget)}
    tasks = [(number, *setup) for setup in setups for number in numbers]
    with ProcessPoolExecutor(2) as pool:  # forked, so that workers have PLANS
        measured = np.asarray(list(pool.map(errors, tasks, chunksize=8)))
    return dict(zip(setups, measured.reshape(len(setups), len(numbers), 2), strict=True))


def summary(measured: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean absolute errors of log N* and log loss, and their geometric mean."""
    size, loss = measured.mean(axis=0).tolist()
    return size, loss, math.sqrt(size * loss)


def rows(studies: int = STUDIES, first: int = 0) -> list[dict[str, Any]]:
    """Returns the benchmark's rows: the geometric mean with its target, then both errors."""
    references = [("grid", "parabolas", False), ("grid", "chinchilla", False)]
    setups = [*references, ("plan", "posterior", False), ("grid", "parabolas", True)]
    results = {k: summary(v) for k, v in measure(setups, range(first, first + studies)).items()}
    better = min(references, key=lambda setup: results[setup][2])
    ours = results["plan", "posterior", False]
    against = f"isoFLOP grid with {better[1]}"
    title = f"pilot design against an {against}, {studies} studies: "
    table = []
    what = "geometric mean of the errors of log N* and log loss at 100x"
    table.append(_row(title + what, results[better][2], ours[2], TARGET))
    for k, what in ((0, "mean error of log N*"), (1, "mean error of log loss")):
        table.append(_row(title + what, results[better][k], ours[k], None))
    cleaned = results["grid", "parabolas", True]
    table.append(_row(title + "geometric mean, the grid's runs cleaned", cleaned[2], ours[2], None))
    return table


def _row(name: str, reference: float, ours: float, target: float | None) -> dict[str, Any]:
    ratio = ours / reference
    return {
        "name": name,
        "reference": round(reference, 5),
        "ours": round(ours, 5),
        "ratio": round(ratio, 3),
        "target": target,
        "met": None if target is None else ratio <= target,
    }


def estimators(studies: int, first: int) -> None:
    """Prints the errors of each estimator on each design."""
    setups = [("grid", name, cleaned) for name in ESTIMATORS for cleaned in (False, True)]
    setups += [("plan", name, False) for name in ESTIMATORS if name != "parabolas"]
    results = measure(setups, range(first, first + studies))
    kinds = np.asarray([make_study(number).kind for number in range(first, first + studies)])
    print("design estimator    cleaned  mean log N*  log loss  both   median log N*  log loss")
    for (design, name, cleaned), measured in results.items():
        size, loss, both = summary(measured)
        medians = np.median(measured, axis=0)
        print(
            f"{design:6} {name:12} {'yes' if cleaned else 'no':7}  {size:11.3f}  {loss:8.4f}  "
            f"{both:.4f} {medians[0]:13.3f}  {medians[1]:8.4f}"
        )
        if "-v" in sys.argv:
            for kind in KINDS:
                print("   ", kind, measured[kinds == kind].mean(axis=0).round(4))


def main() -> None:
    """Reads the options and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--estimators", action="store_true", help="compare all estimators")
    parser.add_argument("--studies", type=int, default=STUDIES, help="number of studies")
    parser.add_argument("--first", type=int, default=0, help="number of the first study")
    parser.add_argument("-v", action="store_true", help="also by form of the loss")
    parser.add_argument(
        "--gentle", action="store_true", help="no badly tuned runs and no loss spikes"
    )
    options = parser.parse_args()
    if options.gentle:
        global MISTUNED, OUTLIERS
        MISTUNED = OUTLIERS = 0.0
    if options.estimators:
        estimators(options.studies, options.first)
    else:
        print(json.dumps(rows(options.studies, options.first), indent=1))


if __name__ == "__main__":
    main()
