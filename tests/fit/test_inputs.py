"""What `scalax.fit` takes: data frames, dicts, law objects and classes, one-variable tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import scalax as sx
from scalax.errors import ScalaxError
from scalax.laws.power import PowerParams
from scalax.predict.read_fit import read_fit
from scalax.runs.csv_writer import write_runs
from tests.fit.tables import isoflops

RUNS = isoflops(noise=0.003)
COLUMNS = {name: RUNS[name] for name in ("params", "tokens", "flops", "loss")}


class Shifted(sx.Law):
    """Chinchilla with one exponent."""

    name: ClassVar[str] = "shifted-test-law"
    title: ClassVar[str] = "one exponent"
    equation: ClassVar[str] = "L = E + A / N^alpha + B / D^alpha"
    source: ClassVar[str] = "this test"
    coefficients: ClassVar[tuple[sx.Coefficient, ...]] = (
        sx.Coefficient("E", "linear", 1e-9, 1e3),
        sx.Coefficient("A", "linear", 1e-9, 1e12),
        sx.Coefficient("B", "linear", 1e-9, 1e12),
        sx.Coefficient("alpha", "exponent", 0.01, 3.0, tuple(np.geomspace(0.05, 2, 24).tolist())),
    )

    def basis(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> list[Any]:
        return [1.0, x["params"] ** -c["alpha"], x["tokens"] ** -c["alpha"]]

    def loss(self, xp: Any, c: Mapping[str, Any], x: Mapping[str, Any]) -> Any:
        one, params, tokens = self.basis(xp, c, x)
        return c["E"] * one + c["A"] * params + c["B"] * tokens


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS),
        pl.LazyFrame(COLUMNS),
        pa.table(COLUMNS),
        COLUMNS,
        {name: values.tolist() for name, values in COLUMNS.items()},
        {name: pd.Series(values) for name, values in COLUMNS.items()},
    ],
    ids=["pandas", "polars", "lazy", "arrow", "arrays", "lists", "series"],
)
def test_any_table_gives_the_fit_of_its_rows(frame: Any) -> None:
    expected = sx.fit(RUNS, "chinchilla", backtest=False)
    found = sx.fit(frame, "chinchilla", backtest=False)
    assert found.coefficients == expected.coefficients
    assert sx.read_runs(frame)["loss"].tolist() == RUNS["loss"].tolist()


def test_columns_are_mapped_and_missing_values_are_named_by_row() -> None:
    frame = pd.DataFrame({"N": [1e6, 2e6, None], "D": [1e8] * 3, "loss": [3.0, 2.9, 2.8]})
    with pytest.raises(ScalaxError, match=r"DataFrame: row 3, params: expected .* got nothing"):
        sx.fit(frame, columns={"params": "N", "tokens": "D"})
    nullable = pl.DataFrame({"params": [1e6, None], "tokens": [1, 2], "loss": [3.0, 2.0]})
    with pytest.raises(ScalaxError, match="row 2, params"):
        sx.read_runs(nullable)
    with pytest.raises(ScalaxError, match="loss: expected a sequence"):
        sx.read_runs({"params": [1e6], "loss": 3.0})
    with pytest.raises(ScalaxError, match="different lengths"):
        sx.read_runs({"params": [1e6, 2e6], "loss": [3.0]})


def test_gain_and_compare_take_the_same_tables() -> None:
    better = pl.DataFrame(COLUMNS | {"loss": 0.97 * RUNS["loss"]})
    found = sx.gain(pd.DataFrame(COLUMNS), better, 1e21)
    assert found.multiplier is not None and found.multiplier > 1
    assert found.low is not None and found.low < found.multiplier
    assert sx.compare(better, ["chinchilla"]) == sx.compare(
        {n: better[n].to_numpy() for n in better.columns}, ["chinchilla"]
    )


@pytest.mark.parametrize("law", [Shifted, Shifted()], ids=["class", "object"])
def test_an_unregistered_law_is_fitted_asked_and_saved(law: Any, tmp_path: Any) -> None:
    found = sx.fit(COLUMNS, law)
    assert found.law == "shifted-test-law"
    assert found.predict(params=1e9, tokens=2e10).low is not None
    assert found.allocate(1e21).params > 0
    assert sx.compare(COLUMNS, [law, "chinchilla"])[0].law
    found.save(tmp_path / "fit.json")
    with pytest.raises(ScalaxError, match=r"is not registered here.*sx\.register"):
        read_fit(tmp_path / "fit.json")


def test_a_law_with_the_name_of_another_is_refused() -> None:
    class Other(Shifted):
        name: ClassVar[str] = "chinchilla"

    class Auto(Shifted):
        name: ClassVar[str] = "auto"

    for law in (Other, Auto()):
        with pytest.raises(ScalaxError, match="another law is named"):
            sx.fit(COLUMNS, law)
    assert sx.fit(COLUMNS, PowerParams, backtest=False).law == "power-params"


@pytest.mark.parametrize("name", ["params", "tokens", "flops"])
def test_a_law_of_one_variable_fits_a_table_of_it(name: str, tmp_path: Any) -> None:
    x = np.geomspace(1e6, 1e9, 24)
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(24))
    table = {name: x, "loss": (1.5 + 40 * x**-0.3) * noise}
    write_runs(
        tmp_path / "t.csv",
        [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)],
    )
    truth = 1.5 + 40 * 1e10**-0.3
    for law in (f"power-{name}", "auto"):
        found = sx.fit(str(tmp_path / "t.csv"), law)
        answer = found.predict(**{name: 1e10})
        assert answer.loss == pytest.approx(truth, rel=0.02)
        assert answer.low < truth < answer.high
        assert found.ranges == {name: [x.min(), pytest.approx(x.max())]}
        assert name == "flops" or any("the table has no flops" in note for note in found.notes)
        found.save(tmp_path / "fit.json")
        assert read_fit(tmp_path / "fit.json").predict(**{name: 1e10}) == answer
    scores = sx.compare(table)
    assert scores[0].mean_error < 0.02
    weighted = sx.fit(table, f"power-{name}", weights="compute", clean=True)
    assert name == "flops" or any("weighted by" in note for note in weighted.notes)
    with pytest.raises(ScalaxError, match="expected two of params, tokens and flops"):
        sx.fit(table, "chinchilla")


def test_a_law_of_no_size_needs_no_size() -> None:
    loss = np.linspace(1.8, 4.0, 30)
    table = {"loss": loss, "error": 0.85 - 2.08 * np.exp(-0.756 * loss)}
    found = sx.fit(table, "loss-to-error", metric="error")
    assert found.coefficients["gamma"] == pytest.approx(0.756, rel=1e-3)
    assert any("no intervals from backtests" in note for note in found.notes)
    with pytest.raises(ScalaxError, match="weights"):
        sx.fit(table, "loss-to-error", metric="error", weights="flops")


def test_an_unusable_column_that_the_law_does_not_read_is_ignored_with_a_note() -> None:
    params = np.geomspace(1e6, 1e9, 12)
    table = {"params": params, "flops": np.zeros(12), "loss": 2 + 30 * params**-0.3}
    found = sx.fit(table, "power-params")
    assert any("flops is not used" in note for note in found.notes)
