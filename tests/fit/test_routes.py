"""The classical routes, and watching a table that grows."""

import csv

import numpy as np
import pytest

from scalax.errors import ScalaxError
from scalax.fit.classical import classical_split
from scalax.fit.estimate import fit
from scalax.fit.watch import summary_line, watch
from tests.fit.tables import isoflops, llama3


def test_isoflop_parabolas_find_llamas_exponent():
    # The Llama 3 paper (arXiv:2407.21783, section 3.2.1) gives D* = 0.299 C^0.537, so N* ~ C^0.463.
    found = classical_split(llama3(), "isoflop")
    assert found.exponent == pytest.approx(0.463, abs=0.05)
    assert any("biased" in note for note in found.notes)


def test_the_routes_agree_on_exact_runs():
    runs = isoflops()
    # beta / (alpha + beta), Hoffmann et al. 2022, equation 4.
    truth = 0.28 / (0.34 + 0.28)
    assert classical_split(runs, "isoflop").exponent == pytest.approx(truth, abs=0.03)
    assert classical_split(runs, "envelope").exponent == pytest.approx(truth, abs=0.06)


def test_a_budget_without_a_minimum_is_told():
    runs = isoflops(budgets=3)
    low = runs.where((runs["flops"] < 4e18) | (np.arange(27) % 9 < 3))
    with pytest.raises(ScalaxError) as found:
        classical_split(low, "isoflop")
    assert "minima" in str(found.value)


def test_watch_fits_again_as_rows_arrive(tmp_path):
    runs, path = isoflops(noise=0.003), tmp_path / "runs.csv"

    def write(rows):
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["params", "tokens", "flops", "loss"])
            writer.writerows([[r[k] for k in ("params", "tokens", "flops", "loss")] for r in rows])

    every = list(runs.rows())
    write(every[:1])
    seen = watch(path, lambda: fit(str(path), "chinchilla"), every=0.01)
    assert isinstance(next(seen), ScalaxError)
    write(every[:36])
    first = next(seen)
    write(every)
    second = next(seen)
    assert (first.rows, second.rows) == (36, 54)
    assert "54 rows" in summary_line(second)
    assert "N*" in summary_line(second)
