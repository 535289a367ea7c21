"""Tests the law against the paper's complex form, its conformance, and fits of it."""

from __future__ import annotations

import numpy as np
import pytest
from scalax_law_rosenfeld.law import Rosenfeld

import scalax as sx

# The paper's estimates for CIFAR-10. Its alpha is our exponent of tokens, its beta that of params.
CIFAR10 = {"data": 0.66, "model": 0.53, "b": 5.87e-2, "c_inf": 7.14e-14, "eta": 19.77, "eps_0": 0.9}


def paper(m: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Computes equations 4 and 5 in the paper's symbols: m params, n examples."""
    p = CIFAR10
    e = n ** -p["data"] + p["b"] * m ** -p["model"] + p["c_inf"]
    return p["eps_0"] * np.abs(e / (e - 1j * p["eta"]))


def test_the_law_is_the_complex_form_of_the_paper() -> None:
    p = CIFAR10
    c = {
        "L0": p["eps_0"], "c": p["c_inf"] / p["eta"], "A": p["b"] / p["eta"], "B": 1 / p["eta"],
        "alpha": p["model"], "beta": p["data"],
    }  # fmt: skip
    m, n = np.meshgrid(np.geomspace(1e-6, 1e6, 9), np.geomspace(1e-6, 5e4, 9))
    loss = Rosenfeld().loss(np, c, {"params": m, "tokens": n})
    np.testing.assert_allclose(loss, paper(m, n), rtol=1e-12)


def test_it_passes_its_conformance() -> None:
    [report] = sx.check_plugin("law:rosenfeld")
    assert [line for line in report.lines if not line.passed] == []


def test_a_fit_recovers_the_law_and_a_plain_power_law_forecasts_worse() -> None:
    law = Rosenfeld()
    c = {"L0": 0.9, "c": 0.02, "A": 40.0, "B": 2000.0, "alpha": 0.6, "beta": 1.1}
    n, d = (v.ravel() for v in np.meshgrid([2e3, 8e3, 3e4], np.geomspace(1e2, 1e5, 10)))
    table = {"params": n, "tokens": d, "loss": law.loss(np, c, {"params": n, "tokens": d})}
    runs = sx.Runs.from_columns(table)
    assert sx.fit(runs, "rosenfeld").coefficients == pytest.approx(c, rel=1e-5)
    beyond = {"params": 1e5, "tokens": 1e6}
    truth = float(law.loss(np, c, beyond))
    plain = sx.fit(runs, "chinchilla").predict(**beyond).loss
    assert abs(plain / truth - 1) > 0.1
