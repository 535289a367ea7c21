"""Laws of the best learning rate and batch: known ones recovered, and one of a real sweep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax.errors import ScalaxError
from scalax.fit.hyperparameters import of_the_best, tune
from scalax.laws.hyperparameters import read_law
from scalax.runs.read import read_runs
from scalax.runs.table import Runs
from tests.conftest import ROOT, Command

TUNE = ROOT / "experiments" / "data" / "tune.csv"
RATES = 10.0 ** np.arange(-4.0, 0.0, 0.5)
BATCHES = 2.0 ** np.arange(10, 22, 2)


def sweep(rate, batch, *, twist: float = 0.0, params=(1e6, 4e6, 1.6e7), tokens=(1e8, 1e9)) -> Runs:
    """Runs whose log loss is a paraboloid about the laws given, turned by ``twist``."""
    n, d, r, b = (g.ravel() for g in np.meshgrid(params, tokens, RATES, BATCHES))
    x, y = np.log(r / rate(n, d)), np.log(b / batch(n, d))
    loss = 3 * n**-0.05 * np.exp(0.02 * x**2 + 0.01 * y**2 + 0.02 * twist * x * y)
    return Runs.from_columns(
        {"params": n, "tokens": d, "learning_rate": r, "batch_tokens": b, "loss": loss}
    )


@given(st.floats(-0.3, 0.1), st.floats(-0.2, 0.3), st.floats(0.2, 0.7), st.floats(-0.6, 0.6))
@settings(max_examples=25, deadline=None)
def test_known_laws_are_recovered(a: float, b: float, c: float, twist: float) -> None:
    def rate(n, d):
        return 0.01 * (n / 4e6) ** a * (d / 3e8) ** b

    def batch(n, d):
        return 3e4 * (d / 3e8) ** c * n**0.0

    found = tune(sweep(rate, batch, twist=twist))
    at = {"params": 1e8, "tokens": 1e11, "flops": 6e19}
    assert found.learning_rate.law(**at) == pytest.approx(rate(1e8, 1e11), rel=1e-6)
    assert found.batch_tokens.law(**at) == pytest.approx(batch(1e8, 1e11), rel=1e-6)
    assert len(found.optima) == 6


def test_optima_of_a_real_sweep_are_as_good_as_its_best_runs() -> None:
    """The 225 runs of experiments/tune.toml; the run nearest to an optimum is nearly the best."""
    runs = read_runs(TUNE)
    result = tune(runs)
    rate, batch = result.learning_rate, result.batch_tokens
    assert len(result.optima) == 8
    [note] = result.notes
    assert "params 80000, tokens 100000" in note and "below those tried" in note
    for optimum in result.optima:
        point = runs.where(
            (runs["target_params"] == optimum.params) & (runs["target_tokens"] == optimum.tokens)
        )
        assert len(point) == optimum.rows == 25
        distance = np.hypot(
            np.log(point["learning_rate"] / optimum.learning_rate),
            np.log(point["batch_tokens"] / optimum.batch_tokens),
        )
        assert point["loss"][np.argmin(distance)] < 1.02 * point["loss"].min()
        where = {"params": optimum.params, "tokens": optimum.tokens, "flops": 1.0}
        assert rate.law(**where) == pytest.approx(optimum.learning_rate, rel=0.1)
        assert batch.law(**where) == pytest.approx(optimum.batch_tokens, rel=0.5)
    low, high = rate.intervals["params"]
    assert low < rate.law.params < high < 0  # larger models learn best at lower rates
    assert rate.law.params == pytest.approx(-0.445, abs=0.001)
    assert batch.law.tokens == pytest.approx(0.228, abs=0.001)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    def rate(n, d):
        return 0.01 * (n / 4e6) ** -0.2 * (d / 3e8) ** 0.1

    exact = sweep(rate, lambda n, d: 3e4 * (d / 3e8) ** 0.5)
    covered = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).normal(0, 0.003, len(exact))
        found = tune(exact.with_column("loss", exact["loss"] * np.exp(noise)), level=0.8)
        low, high = found.learning_rate.intervals["params"]
        covered += low < -0.2 < high
    assert 0.72 < covered / 200 < 0.88  # 80 %, give or take three standard errors


def test_a_point_whose_best_lies_beyond_those_tried_is_left_out_and_named() -> None:
    def rate(n, d):
        return np.where(n > 1e7, 3.0, 0.01) * d**0.0

    found = tune(sweep(rate, lambda n, d: 3e4 * d**0.0))
    assert {at.params for at in found.optima} == {1e6, 4e6}
    assert all("params 1.6e+07" in note and "above those tried" in note for note in found.notes)
    with pytest.raises(
        ScalaxError, match=r"no point has an optimum.*add smaller and larger values"
    ):
        tune(sweep(lambda n, d: 9.0 + 0 * n, lambda n, d: 3e4 + 0 * n))


def test_what_was_not_varied_has_no_law() -> None:
    runs = sweep(lambda n, d: 0.01 + 0 * n, lambda n, d: 2.0**14 + 0 * n)
    found = tune(runs.where(runs["batch_tokens"] == 2.0**14))
    assert found.batch_tokens is None
    assert found.learning_rate.law.coefficient == pytest.approx(0.01)
    with pytest.raises(ScalaxError, match="three values or more of learning_rate"):
        tune(runs.where((runs["batch_tokens"] == 2.0**14) & (runs["learning_rate"] < 5e-4)))


def test_other_settings_are_those_that_did_best_and_seeds_stand_together() -> None:
    good = sweep(lambda n, d: 0.01 + 0 * n, lambda n, d: 2.0**14 + 0 * n)
    bad = sweep(lambda n, d: 0.03 + 0 * n, lambda n, d: 2.0**16 + 0 * n)
    both = {name: np.concatenate([good[name], bad[name]]) for name in good.columns}
    both["loss"][len(good) :] *= 1.05
    both["beta2"] = np.repeat([0.95, 0.99], len(good))
    mixed = Runs.from_columns(both)
    kept = of_the_best(mixed, ["beta2"])
    assert tune(kept).learning_rate.law.coefficient == pytest.approx(0.01)
    assert any("best beta2" in note for note in kept.notes)
    assert of_the_best(mixed, []) is mixed


def test_the_command_writes_laws_that_a_recipe_reads(scalax: Command, tmp_path: Path) -> None:
    out = tmp_path / "hyperparameters.json"
    done = scalax("fit", TUNE, "--method", "hyperparameters", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    printed, written = json.loads(done.stdout), json.loads(out.read_text())
    assert printed == written
    laws = read_law(str(out))
    assert laws["batch_tokens"].tokens == written["batch_tokens"]["tokens"]
    shown = scalax("fit", TUNE, "--method", "hyperparameters")
    assert "best batch" in shown.stdout and "from 8 optima" in shown.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "contains no laws"),
        ("[1]", "contains no laws"),
        ('{"learning_rate": {"params": -0.5}}', "contains no laws"),
        ('{"learning_rate": {"coefficient": -1}}', "contains no laws with valid numbers"),
        (
            '{"learning_rate": {"coefficient": 1, "tokens": 1e9}}',
            "contains no laws with valid numbers",
        ),
    ],
)
def test_a_file_without_laws_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "laws.json"
    file.write_text(text)
    with pytest.raises(ScalaxError, match=message):
        read_law(str(file))
    with pytest.raises(ScalaxError, match="no such file"):
        read_law(str(tmp_path / "missing.json"))
    with pytest.raises(ScalaxError, match=r"has no law of learning rate.*steplaw2025"):
        read_law("hoffmann2022")
