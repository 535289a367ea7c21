"""Synthetic sweeps: each trouble against its definition, and the command as a user runs it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from scalax.predict.published_law import published_fit
from scalax.simulate.troubles import Drift, Troubles, add_troubles
from tests.conftest import Command

ROWS = 20_000


def spoilt(seed: int = 0, trunks: np.ndarray | None = None, **troubles: float) -> np.ndarray:
    options = Troubles(**{"noise": 0.0, **troubles})
    each = np.arange(ROWS) if trunks is None else trunks
    return add_troubles(np.zeros(len(each)), each, options, np.random.default_rng(seed))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_noise_has_the_deviation_asked_for_and_branches_share_half_its_variance() -> None:
    result = spoilt(noise=0.01, trunks=np.repeat(np.arange(ROWS // 2), 2))
    assert result.std() == pytest.approx(0.01, rel=0.03)
    assert result.mean() == pytest.approx(0.0, abs=3e-4)
    first, second = result[::2], result[1::2]
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.5, abs=0.03)


def test_bad_tuning_raises_its_share_of_the_runs_and_lowers_none() -> None:
    result = spoilt(mistuned=0.25)
    assert np.sum(result > 0) == ROWS // 4
    assert result.min() == 0.0
    assert result[result > 0].mean() == pytest.approx(0.01, rel=0.05)  # exponential, mean 1 %


def test_outliers_stand_far_above() -> None:
    result = spoilt(outliers=0.1)
    assert np.sum(result > 0) == ROWS // 10
    raised = result[result > 0]
    assert (raised.min() >= 0.05, raised.max() <= 0.3) == (True, True)


def test_drift_grows_as_its_size_says_over_seeds() -> None:
    flops = np.array([1e18, 1e19, 1e21])
    drawn = [Drift.draw(0.004, 1e18, np.random.default_rng(k))(flops) for k in range(4000)]
    # sqrt(2) sin of an even phase has mean 0 and mean square 1.
    assert np.sqrt(np.mean(np.square(drawn), axis=0)) == pytest.approx([0, 0.004, 0.012], rel=0.04)
    assert np.mean(drawn, axis=0) == pytest.approx([0, 0, 0], abs=8e-4)


def test_drift_is_smooth_in_log_compute() -> None:
    x = np.linspace(0, 4, 401)
    result = Drift(0.01, 1.0, 0.3, 4.0)(10**x)
    # |f''| <= size sqrt(2) (2 w + w^2 x), w = 2 pi / period.
    w = 2 * np.pi / 4
    bound = 0.01 * math.sqrt(2) * (2 * w + w**2 * 4)
    assert np.abs(np.diff(result, 2)).max() < bound * 0.01**2


def test_without_troubles_the_losses_are_the_law_itself(scalax: Command, tmp_path: Path) -> None:
    out = tmp_path / "runs.csv"
    done = scalax(
        "simulate", "sweep", "--law", "hoffmann2022", "--noise", 0, "--out", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], len(result["runs"])) == (35, 35)
    law = published_fit("hoffmann2022")
    for row in rows_of(out):
        n, d = float(row["params"]), float(row["tokens"])
        assert float(row["loss"]) == pytest.approx(law.loss(params=n, tokens=d))
        assert float(row["flops"]) == pytest.approx(6 * n * d)
        assert (row["status"], row["seed"]) == ("done", "0")


def test_a_study_is_rehearsed_from_a_design_to_a_fit(
    scalax: Command, experiment: Path, tmp_path: Path
) -> None:
    options = ["simulate", "sweep", "--law", "besiroglu2024", "--design", experiment, "--seed", 3]
    troubles = ["--noise", 0.002, "--mistuned", 0.2, "--outliers", 0.1, "--drift", 0.002]
    for name in ("a.csv", "b.csv"):
        done = scalax(*options, *troubles, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    rows = rows_of(tmp_path / "a.csv")
    assert len({row["trunk"] for row in rows if row["role"] == "fit"}) == 2
    assert [row["role"] for row in rows].count("check") == 1
    fitted = scalax("fit", tmp_path / "a.csv", "--law", "posterior", "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["rows"] == 4


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--mistuned", 1.5, "a number from 0 to 1"),
        ("--noise", -0.1, "a number from 0 to 0.5"),
        ("--law", "llama3", "no loss"),
        ("--out", "runs.parquet", "a .csv file"),
        ("--design", "nowhere.toml", "no such file"),
    ],
)
def test_wrong_use_is_reported_in_one_line(
    scalax: Command, tmp_path: Path, option: str, value: object, message: str
) -> None:
    options = {"--law": "hoffmann2022", "--out": tmp_path / "runs.csv", option: value}
    done = scalax("simulate", "sweep", *(part for pair in options.items() for part in pair))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_period_of_a_drift_is_in_decades() -> None:
    drift = Drift(0.01, 1e15, math.pi / 2, 4.0)
    once, later = drift(np.array([1e16, 1e20]))
    assert later == pytest.approx(5 * once, abs=1e-12)
