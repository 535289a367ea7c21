"""`--law posterior`: coordinates of laws, the prior, what runs make of it, and bad rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from scalax.errors import ScalaxError
from scalax.fit.estimate import fit
from scalax.fit.posterior_fit import trunks_of
from scalax.fit.prior import coefficients, coordinates, log_loss, published_prior, shift_anchor
from scalax.laws.base import ComputeRule
from scalax.laws.published import published
from scalax.predict.published_law import published_fit
from scalax.predict.read_fit import read_fit
from scalax.runs.table import Runs
from scalax.simulate.sweep import synthetic_table
from scalax.simulate.troubles import Troubles
from tests.conftest import Command

ANCHOR = math.log(1e20)
EXACT = ["hoffmann2022", "besiroglu2024", "gadre2024"]
"""Laws of a floor and two powers, which the joint form contains."""


def table(noise: float = 0.002, law: str = "besiroglu2024", seed: int = 0) -> Runs:
    return synthetic_table(published_fit(law), Troubles(noise), seed=seed)


@pytest.mark.parametrize("name", EXACT)
def test_coordinates_give_a_law_back(name: str) -> None:
    law = published_fit(name)
    theta = coordinates(law, ANCHOR)
    n, d = np.meshgrid([1e8, 1e9, 1e10], [1e9, 1e10, 1e11])
    n, d = n.ravel(), d.ravel()
    true = law.loss(**law.form.complete({"params": n, "tokens": d}))
    close = log_loss(theta, np.log(6 * n), np.log(d), ANCHOR)
    # The bend is read off three points a quarter e-fold apart.
    assert np.exp(close) == pytest.approx(true, rel=2e-3)
    again = coefficients(theta[None], ANCHOR, ComputeRule())[0]
    inner = again["A"] * n ** -again["alpha"] + again["B"] * d ** -again["beta"]
    assert again["E"] + inner ** again["gamma"] == pytest.approx(np.exp(close), rel=1e-9)


def test_a_law_moved_is_the_same_law() -> None:
    law = published_fit("besiroglu2024")
    there = shift_anchor(coordinates(law, ANCHOR), 5.0)
    assert there == pytest.approx(coordinates(law, ANCHOR + 5.0), abs=1e-2)


@pytest.mark.parametrize("flops", [1e15, 1e18, 1e21, 1e24])
def test_no_published_law_is_beyond_the_prior(flops: float) -> None:
    near = math.log(min(max(flops, 1e17), 1e22))
    belief = published_prior(math.log(flops))
    deviation = np.sqrt(np.diag(belief.covariance))
    for name, entry in published().items():
        if "allocation" in entry.gives:
            away = (coordinates(published_fit(name), near) - belief.mean) / deviation
            assert np.nanmax(np.abs(away)) < 2.5, name


def test_good_runs_outweigh_the_prior() -> None:
    found = fit(table(noise=2e-4), "posterior").allocate(1e22)
    true = published_fit("besiroglu2024").allocate(1e22)
    assert found.params == pytest.approx(true.params, rel=0.1)
    assert found.loss == pytest.approx(true.loss, rel=0.01)
    low, high = found.intervals["loss"]
    assert low < true.loss < high


def test_spiked_runs_are_named_and_do_not_move_the_answer() -> None:
    runs = table()
    spiked = runs["loss"].copy()
    spiked[[30, 33]] *= 1.2
    plain = fit(runs, "posterior").allocate(1e22)
    bad = fit(runs.with_column("loss", spiked), "posterior")
    assert bad.allocate(1e22).params == pytest.approx(plain.params, rel=0.1)
    assert bad.allocate(1e22).loss == pytest.approx(plain.loss, rel=0.015)
    assert any("31, 34" in note for note in bad.notes)


def test_fewer_runs_are_less_sure() -> None:
    runs = table()
    some = runs.where(np.arange(0, len(runs), 4))
    many, few = (fit(each, "posterior").allocate(1e22).intervals for each in (runs, some))
    for name in ("loss", "params"):
        assert math.log(few[name][1] / few[name][0]) > math.log(many[name][1] / many[name][0])


def test_runs_of_a_trunk_are_known_by_its_name() -> None:
    names = np.asarray(["a", None, "b", "a", "", "b"], object)
    columns = {"params": np.ones(6), "tokens": np.ones(6), "loss": np.ones(6)}
    found = trunks_of(Runs.from_columns({**columns, "trunk": names})).tolist()
    same = {(i, k) for i in range(6) for k in range(i) if found[i] == found[k]}
    assert same == {(3, 0), (5, 2)}
    assert len(set(trunks_of(Runs.from_columns(columns)).tolist())) == 6


def test_the_command_writes_a_fit_that_answers(scalax: Command, tmp_path: Path) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "fit.json"
    made = scalax("simulate", "sweep", "--law", "hoffmann2022", "--out", runs)
    assert made.returncode == 0, made.stderr
    done = scalax("fit", runs, "--law", "posterior", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    members = json.loads(done.stdout)["members"]
    assert sum(m["share"] for m in members) == pytest.approx(1)
    answer = scalax("allocate", "--fit", out, "--flops", 1e22, "--json")
    found = json.loads(answer.stdout)
    true = published_fit("hoffmann2022").allocate(1e22)
    assert found["params"] == pytest.approx(true.params, rel=0.3)
    assert read_fit(out).allocate(1e22).loss == pytest.approx(found["loss"])


def test_what_is_of_one_law_is_refused() -> None:
    with pytest.raises(ScalaxError, match="posterior fits several"):
        fit(table(), "posterior", fixed={"E": 1.7})
    with pytest.raises(ScalaxError, match="usable rows"):
        fit(table().where(np.arange(2)), "posterior")
