"""`scalax plan`: budgets, the cost of trunks, expected intervals, and the experiment file."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scalax.errors import ScalaxError
from scalax.fit.prior import published_prior
from scalax.plan.candidates import Candidates
from scalax.plan.design import Design
from scalax.plan.pilot import Pilot, plan_pilot
from scalax.predict.published_law import published_fit
from scalax.simulate.sweep import synthetic_table
from scalax.simulate.troubles import Troubles
from tests.conftest import Command

DECAY = 0.2


def width(ends: list[float]) -> float:
    return math.log(ends[1] / ends[0])


@pytest.fixture(scope="module")
def pilot() -> Pilot:
    return plan_pilot("prior", 1e14, 1e16)


def test_the_command_keeps_its_contract_and_its_file_runs(scalax: Command, tmp_path: Path) -> None:
    out = tmp_path / "plan.toml"
    done = scalax(
        "plan", "--law", "prior", "--budget", 1e14, "--target", 1e16, "--max-flops", 2e13,
        "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {"runs", "flops", "expected", "experiment"}
    assert answer["experiment"] == str(out)
    assert all(set(run) == {"params", "tokens", "flops", "trunk"} for run in answer["runs"])
    assert all(run["flops"] <= 2e13 for run in answer["runs"])
    for name in ("loss", "params"):
        low, high = answer["expected"][name]
        assert 0 < low < high

    # Cost from the list alone: the longest run of a trunk in full, the decay of the others.
    trunks: dict[str, list[float]] = {}
    for run in answer["runs"]:
        trunks.setdefault(run["trunk"], []).append(run["flops"])
    spent = sum(max(flops) + DECAY * (sum(flops) - max(flops)) for flops in trunks.values())
    assert answer["flops"] == pytest.approx(spent, rel=5e-3)  # steps are whole numbers
    assert answer["flops"] <= 1e14
    assert max(map(len, trunks.values())) > 1

    dry = scalax("run", out, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    planned = json.loads(dry.stdout)
    listed = [
        {k: run[k] for k in ("params", "tokens", "flops", "trunk")} for run in planned["runs"]
    ]
    assert listed == answer["runs"]
    assert planned["flops"] == pytest.approx(answer["flops"])


def test_only_the_given_sizes_are_planned() -> None:
    pilot = plan_pilot("prior", 1e13, 1e15, sizes=[3e4, 1e5, 3e5])
    assert {run.target_params for run in pilot.plan.fitted} <= {3e4, 1e5, 3e5}
    with pytest.raises(ScalaxError, match="no transformer"):
        plan_pilot("prior", 1e13, 1e15, sizes=[100])


@pytest.mark.parametrize("law", ["prior", "hoffmann2022"])
def test_a_larger_budget_does_not_widen_the_expected_intervals(law: str) -> None:
    pilots = [plan_pilot(law, budget, 1e18) for budget in (1e14, 1e15, 1e16)]
    for less, more in itertools.pairwise(pilots):
        assert width(more.loss) <= 1.03 * width(less.loss)
        assert width(more.params) <= 1.03 * width(less.params)
    assert width(pilots[-1].loss) < 0.9 * width(pilots[0].loss)


def test_runs_already_trained_narrow_the_expected_intervals(pilot: Pilot, tmp_path: Path) -> None:
    pilot.save(tmp_path / "plan.toml")
    runs = synthetic_table(
        published_fit("besiroglu2024"), Troubles(0.003), design=tmp_path / "plan.toml"
    )
    after = plan_pilot("prior", 1e14, 1e16, runs=runs)
    assert width(after.loss) < width(pilot.loss)
    assert width(after.params) < width(pilot.params)
    true = published_fit("besiroglu2024").allocate(1e16)
    assert after.loss[0] < true.loss < after.loss[1]
    assert after.params[0] < true.params < after.params[1]


def test_a_published_law_gives_narrower_intervals_than_the_prior() -> None:
    named, broad = (plan_pilot(law, 1e18, 1e20) for law in ("hoffmann2022", "prior"))
    assert width(named.loss) < width(broad.loss)
    assert width(named.params) < width(broad.params)
    law = published_fit("hoffmann2022").allocate(1e20)
    assert named.loss[0] < law.loss < named.loss[1]
    assert named.params[0] < law.params < named.params[1]


def test_like_uses_the_model_and_data_of_an_experiment(experiment: Path, tmp_path: Path) -> None:
    pilot = plan_pilot("prior", 1e11, 1e13, like=experiment)
    pilot.save(tmp_path / "plan.toml")
    text = (tmp_path / "plan.toml").read_text()
    assert 'dataset = "text"' in text
    assert "batch = 8" in text
    assert pilot.flops <= 1e11


def candidates() -> Candidates:
    params, tokens = np.meshgrid(10 ** np.arange(6.5, 8.6, 0.5), 10 ** np.arange(7.5, 10.1, 0.5))
    keep = 6 * params * tokens <= 1e18
    return Candidates(params[keep], tokens[keep], 6 * params[keep], DECAY)


def test_no_random_design_of_the_same_cost_is_better() -> None:
    choices = candidates()
    design = Design(choices, published_prior(math.log(1e18)), 1e20, form=0.002, noise=0.002)
    chosen = design.choose(1e18)
    assert choices.cost(chosen) <= 1e18
    best = design.variance(chosen).score
    rng = np.random.default_rng(0)
    for _ in range(50):
        rows: list[int] = []
        for k in rng.permutation(len(choices)).tolist():
            if np.isfinite(choices.added(rows)[k]) and choices.cost([*rows, k]) <= 1e18:
                rows.append(k)
        assert design.variance(rows[:24]).score > best


def test_the_added_cost_of_a_run_is_the_difference_of_total_costs() -> None:
    choices = candidates()
    rows = [3, 17, 8]
    for k in set(range(len(choices))) - set(rows):
        added = choices.added(rows)[k]
        if np.isfinite(added):
            assert added == pytest.approx(choices.cost([*rows, k]) - choices.cost(rows))


def test_variance_falls_with_every_run_but_not_below_the_form_error() -> None:
    design = Design(candidates(), published_prior(math.log(1e18)), 1e20, form=0.002, noise=0.002)
    distance = math.log(100)
    variances = [design.variance(range(count)) for count in (1, 4, 12, 24)]
    for less, more in itertools.pairwise(variances):
        assert np.all(more.loss <= less.loss * (1 + 1e-9))
        assert np.all(more.size <= less.size * (1 + 1e-9))
    assert variances[-1].loss.min() > 0.002**2 * distance**3 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--law", "hofmann2022"], "did you mean 'hoffmann2022'"),
        (["--law", "llama3"], "no loss"),
        (["--law", "prior", "--budget", "-1"], "positive number"),
        (["--law", "prior", "--budget", "10"], "--budget"),
        (["--law", "prior", "--sizes", "1e6,x"], "--sizes"),
        (["--law", "prior", "--runs", "nowhere.csv"], "no such file"),
    ],
)
def test_errors_are_one_line(scalax: Command, options: list[str], message: str) -> None:
    done = scalax("plan", "--budget", "1e14", "--target", "1e16", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_it_answers_without_jax_or_scipy() -> None:
    code = (
        "import sys; from scalax.plan.pilot import plan_pilot; plan_pilot('prior', 1e13, 1e15); "
        "print([m for m in ('jax', 'flax', 'scipy', 'orbax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
