"""Forecasts: budgets, rollouts that do not peek, the ensemble, intervals, the round trip."""

import importlib
import json

import numpy as np
import pytest

from scalax import registry
from scalax.errors import ScalaxError
from scalax.fit.backtest import run_backtest
from scalax.fit.budgets import budget_of
from scalax.fit.calibration import calibrate, member_shares
from scalax.fit.compare import FORMS, all_members, compare
from scalax.fit.cost import Cost
from scalax.fit.estimate import fit
from scalax.predict.read_fit import read_fit
from tests.fit.tables import isoflops, llama3


def test_budgets_that_differ_by_rounding_are_one():
    flops = np.array([1e18, 1.02e18, 0.99e18, 1e19, 1.01e19, 1.03e19, 5e19, 5e19, 5e19])
    assert budget_of(flops).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_grid_without_shared_budgets_is_gathered_in_order():
    flops = np.random.default_rng(0).permutation(np.geomspace(1e18, 1e22, 40))
    label = budget_of(flops)
    sizes = np.bincount(label)
    assert sizes.min() >= 3
    assert 3 <= len(sizes) <= 8
    order = np.argsort(flops)
    assert np.all(np.diff(label[order]) >= 0)


def test_rollouts_never_see_what_they_forecast():
    runs = isoflops(noise=0.003)
    members = all_members(["chinchilla"], runs)
    plain = run_backtest(runs, members, metric="loss", cost=Cost())
    loss = runs["loss"].copy()
    loss[-9:] *= 1.3  # the largest budget
    spoilt = run_backtest(runs.with_column("loss", loss), members, metric="loss", cost=Cost())
    for cutoff in plain.cutoffs(plain.count):
        np.testing.assert_array_equal(plain.forecasts[cutoff], spoilt.forecasts[cutoff])
    last = plain.count - 1
    np.testing.assert_array_equal(member_shares(plain, last), member_shares(spoilt, last))
    assert calibrate(plain, last, 0.9)[1] == calibrate(spoilt, last, 0.9)[1]


def test_errors_in_rollouts_widen_the_interval():
    runs = isoflops(noise=0.003)
    members = all_members(["chinchilla"], runs)
    calm = calibrate(run_backtest(runs, members, metric="loss", cost=Cost()), 6, 0.9)[1]
    loss = runs["loss"] * np.repeat([1, 1, 1.03, 0.97, 1.04, 0.98], 9)
    wild = calibrate(
        run_backtest(runs.with_column("loss", loss), members, metric="loss", cost=Cost()), 6, 0.9
    )[1]
    assert wild.form > 1.5 * calm.form


def test_compare_ranks_the_true_form_first():
    truth = {"Nc": 6.4e13, "Dc": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}
    scores = compare(isoflops("kaplan", truth, noise=0.001, budgets=8))
    assert scores[0].law in ("kaplan", "joint")  # joint holds Kaplan's form
    assert [s.interval_score for s in scores] == sorted(s.interval_score for s in scores)
    assert {s.law for s in scores} == set(FORMS)
    assert scores[0].cutoffs == pytest.approx([1e18 * 4.0**k for k in range(2, 8)])
    best = scores[0].to_json()
    assert set(best) == {
        "law", "weights", "mean_error", "median_error", "coverage", "interval_score", "cutoffs",
        "coefficients",
    }  # fmt: skip


def test_compare_needs_something_to_hide():
    with pytest.raises(ScalaxError, match="2 budgets with 18 rows are too few to hide one"):
        compare(isoflops(budgets=2))
    with pytest.raises(ScalaxError, match="unknown law"):
        compare(isoflops(), ["chinchila"])


def test_auto_forecasts_llamas_largest_budget():
    runs = llama3()
    hidden = runs["flops"] == runs["flops"].max()
    found = fit(runs.where(~hidden), "auto")
    answers = found.predict(params=runs["params"][hidden], tokens=runs["tokens"][hidden])
    measured = runs["loss"][hidden]
    assert np.mean(np.abs([a.loss for a in answers] / measured - 1)) < 0.01
    inside = [a.low <= loss <= a.high for a, loss in zip(answers, measured, strict=True)]
    assert np.mean(inside) >= 0.8


def test_an_ensemble_survives_the_file(tmp_path):
    found = fit(llama3(), "auto")
    assert found.law == "ensemble"
    assert found.coefficients is None
    assert found.intervals is None
    assert found.objective is None
    assert sum(m.share for m in found.members) == pytest.approx(1)
    assert list(found.to_json()["members"][0]) == ["law", "weights", "share", "coefficients"]
    assert any("chose" in note for note in found.notes)
    found.save(tmp_path / "fit.json")
    again = read_fit(tmp_path / "fit.json")
    assert again.predict(params=4e11, tokens=1.6e13) == found.predict(params=4e11, tokens=1.6e13)
    assert again.allocate(3.8e25) == found.allocate(3.8e25)
    # Llama 3 405B was trained at 3.8e25 FLOPs; the paper's own fit put N* at 402B.
    low, high = again.allocate(3.8e25).intervals["params"]
    assert low < 4.02e11 < high


def test_a_damaged_ensemble_is_refused(tmp_path):
    path = tmp_path / "fit.json"
    fit(llama3(), "auto").save(path)
    for damage in (
        {"members": []},
        {"members": [{"law": "chinchilla"}]},
        {"members": 3},
        {"error": {"reach": 1.0}},
        {"members": [{"law": "chinchilla", "share": 1.0, "coefficients": {"E": 1.0}}]},
    ):
        found = json.loads(path.read_text()) | damage
        (tmp_path / "bad.json").write_text(json.dumps(found))
        with pytest.raises(ScalaxError):
            read_fit(tmp_path / "bad.json")


def test_intervals_grow_with_distance_and_with_the_level():
    runs = isoflops(noise=0.004)
    found = fit(runs, "chinchilla")
    widths = []
    for times in (1, 10, 1000):
        flops = times * runs["flops"].max()
        answer = found.allocate(flops)
        point = found.predict(params=answer.params, tokens=answer.tokens)
        assert point.low < point.loss < point.high
        assert answer.intervals["params"][0] < answer.params < answer.intervals["params"][1]
        low, high = answer.intervals["tokens"]
        assert low < answer.tokens < high
        widths.append((point.high - point.low) / point.loss)
    assert widths == sorted(widths)
    wide = fit(runs, "chinchilla", level=0.99).predict(params=1e9, tokens=2e10)
    tight = fit(runs, "chinchilla", level=0.5).predict(params=1e9, tokens=2e10)
    assert wide.low < tight.low < tight.high < wide.high


@pytest.mark.parametrize("budgets", [1, 2, 3])
def test_few_budgets_still_give_a_falling_forecast(budgets):
    found = fit(isoflops(budgets=budgets, noise=0.003), "auto")
    losses = [found.allocate(1e19 * 10.0**k).loss for k in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert found.allocate(1e22).intervals["loss"] is not None


def test_auto_refuses_what_only_one_law_can_honour():
    for asked in ({"fixed": {"E": 1.7}}, {"weights": "compute"}, {"ties": [("alpha", "beta")]}):
        with pytest.raises(ScalaxError, match="auto"):
            fit(isoflops(), "auto", **asked)


def test_auto_fits_every_row_of_a_large_table(monkeypatch):
    monkeypatch.setattr(importlib.import_module("scalax.fit.backtest"), "_MOST_ROWS", 18)
    monkeypatch.setattr(importlib.import_module("scalax.fit.auto"), "_WINS", 0.0)
    runs = isoflops(noise=0.002)
    sampled = np.linspace(0, 53, 18).round().astype(int)  # evenly, in order of compute
    others = np.ones(54, bool)
    others[sampled] = False
    spoilt = runs.with_column("loss", np.where(others, 1.2, 1.0) * runs["loss"])
    found = fit(spoilt, "auto")
    assert found.rows == 54
    assert any("sample of 18 rows" in note for note in found.notes)
    answers = found.predict(params=runs["params"], tokens=runs["tokens"])
    ratio = np.median([a.loss for a in answers] / runs["loss"])
    assert ratio == pytest.approx(1.2, abs=0.02)  # two rows in three; 1.0 by the sample alone


def test_one_winning_law_has_the_objective_of_its_coefficients(monkeypatch):
    monkeypatch.setattr(importlib.import_module("scalax.fit.auto"), "_WINS", 0.0)
    runs = isoflops(noise=0.003)
    found = fit(runs, "auto")
    law = registry.get("law", found.law)
    measured = np.log(runs["loss"])
    residual = np.log(law.loss(np, found.coefficients, runs.columns)) - measured
    size = np.abs(residual)  # Huber's cost, written out
    cost = np.where(size < 1e-3, residual**2 / 2, 1e-3 * (size - 5e-4))
    power = {"flat": 0.0, "compute": 0.5, "flops": 1.0}[found.members[0].weights]
    weights = runs["flops"] ** power
    assert found.objective == pytest.approx(np.sum(weights / weights.mean() * cost), rel=1e-9)
