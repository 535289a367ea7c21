"""Pilot runs chosen by `scalax plan` against an isoFLOP grid that costs the same.

    python tools/bench_pilot.py                     the rows of make bench-simulator, as JSON
    python tools/bench_pilot.py --estimators        how each estimator does on both designs
    python tools/bench_pilot.py --first 1000        other studies, to develop on
    python tools/bench_pilot.py --gentle            no badly tuned or spiked runs

Each study is a truth that the prior does not contain: one of five forms, its coefficients from
ranges wider than the papers', its form in error by a drift that grows to the target, and runs that
are noisy, badly tuned or spiked. Both designs cost the study's budget, trunks shared in both; the
forecast is of N* and the loss at a hundred times it. The constants of planner and estimator were
chosen on other studies (numbers from 1000).
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
TARGET = 0.6
DRIFT = 0.003
MISTUNED, OUTLIERS = 0.1, 0.02

# The grid: five budgets half a decade apart, seven sizes each over a factor of sixteen, centred on
# twenty tokens a parameter. Of the grids tried (four or five budgets, seven or nine sizes,
# factors of 16, 32 and 64) the one whose parabolas did best.
_BUDGETS, _APART, _SIZES, _SPAN, _RATIO = 5, 10**0.5, 7, 16.0, 20.0
_DECAY = 0.2

Answer = tuple[float, float]
"""N* and loss at the target."""
Points = tuple[np.ndarray, np.ndarray]
"""params and tokens, [runs] each."""


@dataclass(frozen=True)
class Study:
    """A truth, what is wrong with its runs, and what it costs to learn of it.

    Attributes:
        kind: The form.
        budget: FLOPs of the pilot runs.
        loss: The truth, of params and tokens.
        noise: Relative deviation of a loss.
        number: Which it is; seeds what is random of its runs.
    """

    kind: str
    budget: float
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray]
    noise: float
    number: int

    def measured(self, points: Points) -> Runs:
        """Runs at these points, as they would be measured."""
        params, tokens = points
        rng = np.random.default_rng(self.number)
        trunks = trunk_numbers([f"{n:.6g}" for n in params.tolist()])
        troubles = Troubles(self.noise, MISTUNED, OUTLIERS)
        loss = np.exp(add_troubles(np.log(self.loss(params, tokens)), trunks, troubles, rng))
        names = np.asarray([f"n{n:.6g}" for n in params.tolist()], object)
        columns = {"params": params, "tokens": tokens, "flops": 6 * params * tokens, "loss": loss}
        return Runs.from_columns({**columns, "trunk": names}, source=f"study {self.number}")

    def answer(self) -> Answer:
        """The true N* and loss at the target."""
        params = np.geomspace(1e4, 1e14, 40001)
        loss = self.loss(params, BEYOND * self.budget / 6 / params)
        best = int(np.argmin(loss))
        return float(params[best]), float(loss[best])


def make_study(number: int) -> Study:
    """One study. Budgets are whole half decades, so that a plan serves several."""
    rng = np.random.default_rng(20_000 + number)
    kind = str(rng.choice(KINDS))
    size = 10 ** rng.uniform(7, 8.5)
    plain = make_truth(kind, size, rng)
    budget = 10 ** (round(2 * math.log10(120 * size**2 * 10 ** rng.uniform(-0.5, 0.5))) / 2)
    noise = 10 ** rng.uniform(-3, -2)
    drift = Drift.draw(DRIFT, budget / 1000, rng)

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.asarray(plain(params, tokens) * np.exp(drift(6 * params * tokens)))

    return Study(kind, budget, loss, noise, number)


def cost(points: Points) -> float:
    """FLOPs of runs by 6ND, runs of one size sharing a trunk."""
    params, tokens = points
    total = 0.0
    for size in np.unique(params):
        counts = np.sort(tokens[params == size])
        total += 6 * size * float(counts[-1] + _DECAY * counts[:-1].sum())
    return total


def grid(budget: float) -> Points:
    """The isoFLOP grid whose cost is the budget; sizes lie on one ladder, so that trunks serve."""
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
    """What `scalax plan --law prior` chooses."""
    found = plan_pilot("prior", budget, BEYOND * budget)
    runs = found.plan.fitted
    points = (
        np.asarray([float(run.counts.params) for run in runs]),
        np.asarray([float(run.spec.units) for run in runs]),
    )
    assert found.flops <= budget and cost(points) <= budget
    return points


def by_fit(law: str) -> Callable[[Runs, float], Answer]:
    """The answer of `scalax fit --law LAW`."""

    def answer(runs: Runs, target: float) -> Answer:
        found = fit(runs, law, backtest=law in SEVERAL_LAWS).allocate(target)
        assert found.loss is not None
        return found.params, found.loss

    return answer


def by_parabolas(runs: Runs, target: float) -> Answer:
    """N* through the minima of `scalax fit --method isoflop`, the loss through the floor and
    power law of their losses; what they do not give is the parametric fit's."""
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
    """Absolute errors of log N* and log loss of a study by a design and an estimator."""
    number, design, estimator, cleaned = task
    study = make_study(number)
    runs = study.measured(PLANS[study.budget][design])
    if cleaned:
        runs = drop_outliers(runs, "loss")
    params, loss = study.answer()
    found = ESTIMATORS[estimator](runs, BEYOND * study.budget)
    return abs(math.log(found[0] / params)), abs(math.log(found[1] / loss))


def measure(
    asked: list[tuple[str, str, bool]], numbers: range
) -> dict[tuple[str, str, bool], np.ndarray]:
    """Errors [studies, 2] by design, estimator and whether the runs were cleaned first."""
    for budget in {make_study(number).budget for number in numbers}:
        if budget not in PLANS:
            PLANS[budget] = {"plan": planned(budget), "grid": grid(budget)}
    tasks = [(number, *each) for each in asked for number in numbers]
    with ProcessPoolExecutor(2) as pool:  # forked, so that each knows the plans
        found = np.asarray(list(pool.map(errors, tasks, chunksize=8)))
    return dict(zip(asked, found.reshape(len(asked), len(numbers), 2), strict=True))


def summary(found: np.ndarray) -> tuple[float, float, float]:
    """Mean absolute error of log N* and of log loss over studies, and their geometric mean."""
    size, loss = found.mean(axis=0).tolist()
    return size, loss, math.sqrt(size * loss)


def rows(studies: int = STUDIES, first: int = 0) -> list[dict[str, Any]]:
    """The benchmark's rows: the geometric mean against its target, then both factors."""
    references = [("grid", "parabolas", False), ("grid", "chinchilla", False)]
    asked = [*references, ("plan", "posterior", False), ("grid", "parabolas", True)]
    found = {k: summary(v) for k, v in measure(asked, range(first, first + studies)).items()}
    better = min(references, key=lambda each: found[each][2])
    ours = found["plan", "posterior", False]
    against = f"isoFLOP grid with {better[1]}"
    title = f"pilot design against an {against}, {studies} studies: "
    listed = []
    what = "geometric mean of the errors of log N* and log loss at 100x"
    listed.append(_row(title + what, found[better][2], ours[2], TARGET))
    for k, what in ((0, "mean error of log N*"), (1, "mean error of log loss")):
        listed.append(_row(title + what, found[better][k], ours[k], None))
    cleaned = found["grid", "parabolas", True]
    listed.append(
        _row(title + "geometric mean, the grid's runs cleaned", cleaned[2], ours[2], None)
    )
    return listed


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
    """Prints how each estimator does on each design."""
    asked = [("grid", name, cleaned) for name in ESTIMATORS for cleaned in (False, True)]
    asked += [("plan", name, False) for name in ESTIMATORS if name != "parabolas"]
    found = measure(asked, range(first, first + studies))
    kinds = np.asarray([make_study(number).kind for number in range(first, first + studies)])
    print("design estimator    cleaned  mean log N*  log loss  both   median log N*  log loss")
    for (design, name, cleaned), each in found.items():
        size, loss, both = summary(each)
        middle = np.median(each, axis=0)
        print(
            f"{design:6} {name:12} {'yes' if cleaned else 'no':7}  {size:11.3f}  {loss:8.4f}  "
            f"{both:.4f} {middle[0]:13.3f}  {middle[1]:8.4f}"
        )
        if "-v" in sys.argv:
            for kind in KINDS:
                print("   ", kind, each[kinds == kind].mean(axis=0).round(4))


def main() -> None:
    """Runs what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--estimators", action="store_true")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("-v", action="store_true", help="by kind of truth as well")
    parser.add_argument(
        "--gentle", action="store_true", help="noise and drift are all that is wrong"
    )
    asked = parser.parse_args()
    if asked.gentle:
        global MISTUNED, OUTLIERS
        MISTUNED = OUTLIERS = 0.0
    if asked.estimators:
        estimators(asked.studies, asked.first)
    else:
        print(json.dumps(rows(asked.studies, asked.first), indent=1))


if __name__ == "__main__":
    main()
