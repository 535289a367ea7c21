"""Fits of laws from formulas: they recover known truths and are saved with their formula."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scalax as sx
from scalax.laws.typical_values import draw_columns
from scalax.runs.table import Runs
from tests.laws.test_formula import CHINCHILLA, CROSS, POWER


def table(law: sx.Law, truth: dict[str, float], noise: float = 0.0) -> Runs:
    rng = np.random.default_rng(1)
    x = draw_columns(law, rng, 80, ("params", "tokens"))
    loss = np.asarray(law.loss(np, truth, x)) * np.exp(noise * rng.standard_normal(80))
    return Runs.from_columns({**x, "flops": 6 * x["params"] * x["tokens"], "loss": loss})


@pytest.mark.parametrize(
    ("formula", "truth"),
    [
        (POWER, {"E": 1.7, "A": 300.0, "alpha": 0.31}),
        (CHINCHILLA, {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}),
        (
            CROSS,
            {"E": 1.6, "A": 400.0, "alpha": 0.4, "B": 900.0, "beta": 0.35, "G": 300.0, "g": 0.13},
        ),
        ("E + A*exp(-alpha*log(N)) + 2/D**beta", {"E": 1.7, "A": 300.0, "alpha": 0.3, "beta": 0.1}),
    ],
)
def test_a_formula_recovers_a_known_truth(formula: str, truth: dict[str, float]) -> None:
    law = sx.law("mine", formula)
    fit = sx.fit(table(law, truth), law.reference)
    assert fit.coefficients == pytest.approx(truth, rel=1e-5)


def test_a_fit_of_a_formula_is_read_back_without_registration(tmp_path) -> None:
    truth = {"E": 1.69, "A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28}
    law = sx.law("mine", CHINCHILLA)
    fit = sx.fit(table(law, truth), law)
    fit.save(tmp_path / "fit.json")
    again = sx.read_fit(tmp_path / "fit.json")
    assert again.form.name == "mine"
    assert again.predict(params=1e9, tokens=1e11) == fit.predict(params=1e9, tokens=1e11)
    assert again.allocate(flops=1e21).params == pytest.approx(fit.allocate(flops=1e21).params)


def test_the_command_line_fits_a_formula_and_answers_from_it(scalax, tmp_path) -> None:
    law, truth = sx.law("mine", POWER), {"E": 1.7, "A": 300.0, "alpha": 0.31}
    runs = table(law, truth)
    rows = zip(runs["params"], runs["tokens"], runs["loss"], strict=True)
    lines = ["params,tokens,loss", *(f"{n},{d},{loss}" for n, d, loss in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    done = scalax("fit", "t.csv", "--law", POWER, "--out", "fit.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = scalax("predict", "--fit", "fit.json", "--params", "1e9", "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    expected = float(law.loss(np, truth, {"params": 1e9}))
    assert f'"loss": {expected:.6f}'[:14] in answer.stdout


def test_laws_show_describes_a_formula(scalax) -> None:
    shown = scalax("laws", "show", "mine = " + POWER, "--json")
    record = json.loads(shown.stdout)
    assert record["columns"] == ["params"] and record["name"] == "mine"
    assert [c["role"] for c in record["coefficients"]] == ["linear", "linear", "exponent"]
