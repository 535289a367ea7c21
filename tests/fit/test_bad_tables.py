"""No table ends in a traceback or in a silent nonsense fit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalax.errors import ScalaxError
from scalax.fit.estimate import fit
from scalax.fit.outliers import _near_duplicates, drop_outliers
from scalax.runs.read import read_runs
from scalax.runs.table import Runs
from tests.fit.tables import isoflops

_ODD = st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf, 1e-300, 1e300, 1.0, 3.0])
_TEXT = st.sampled_from(["", "high", "1e9", None, "nan"])
_NUMBER = st.floats(1e-3, 1e12) | _ODD


@st.composite
def _tables(draw):
    rows = draw(st.integers(1, 12))
    names = draw(st.sets(st.sampled_from(["params", "tokens", "flops", "loss", "trunk", "status"])))
    kinds = st.sampled_from(["good", "constant", "odd", "text"])
    columns = {}
    for name in names:
        kind = draw(kinds)
        if kind == "good":
            values = draw(st.lists(st.floats(1.0, 1e12), min_size=rows, max_size=rows))
        elif kind == "constant":
            values = [draw(st.floats(1.0, 1e12))] * rows
        elif kind == "odd":
            values = draw(st.lists(_NUMBER, min_size=rows, max_size=rows))
        else:
            values = draw(st.lists(_TEXT | _NUMBER, min_size=rows, max_size=rows))
            values = np.asarray(values, object)
        columns[name] = values
    return columns


@settings(max_examples=150, deadline=None)
@given(_tables(), st.sampled_from(["chinchilla", "kaplan", "auto"]), st.booleans())
def test_any_table_is_fitted_or_refused_in_words(columns, law, clean):
    try:
        found = fit(Runs.from_columns(columns), law, clean=clean)
    except ScalaxError as error:
        assert str(error)
        return
    answer = found.predict(params=1e8, tokens=2e9)
    assert math.isfinite(answer.loss)
    assert answer.loss > 0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["params", "tokens", "flops", "loss"]),
    st.integers(0, 53),
    st.sampled_from([0.0, -2.0, math.nan, math.inf]),
)
def test_one_bad_number_is_named_by_row_and_column(name, row, value):
    runs = isoflops()
    values = runs[name].copy()
    values[row] = value
    with pytest.raises(ScalaxError, match=f"row {row + 1}, {name}"):
        fit(runs.with_column(name, values), "chinchilla")


def test_two_rows_are_refused_and_few_are_warned_of():
    runs = isoflops()
    with pytest.raises(ScalaxError, match="2 usable rows"):
        fit(runs.where(np.array([0, 50])), "chinchilla")
    notes = fit(runs.where(np.array([0, 20, 50])), "chinchilla").notes
    assert any("too few" in note for note in notes)


@pytest.mark.parametrize("law", ["chinchilla", "auto"])
def test_a_constant_column_is_warned_of(law):
    runs = isoflops().where(np.arange(9))
    same = Runs.from_columns(
        {"params": np.full(9, 1e9), "tokens": runs["tokens"], "loss": runs["loss"]}
    )
    found = fit(same, law)
    for said in ("params is the same", "identifiability"):
        assert any(said in note for note in found.notes)
        assert any(said in caution for caution in found.cautions)


def test_auto_warns_of_few_rows_and_of_losses_in_bits():
    runs = isoflops(noise=0.002)
    assert any("too few" in note for note in fit(runs.where(np.array([0, 20, 50])), "auto").notes)
    loss = runs["loss"].copy()
    loss[[4, 20, 33]] /= math.log(2)
    assert any("bits" in note for note in fit(runs.with_column("loss", loss), "auto").notes)
    found = fit(runs, "auto")
    assert not found.cautions
    assert not any("bits" in note for note in found.notes)


def test_auto_warns_where_its_own_rollouts_failed():
    runs = isoflops()
    noise = np.random.default_rng(0).uniform(0.1, 10, len(runs))
    found = fit(runs.with_column("loss", noise), "auto")
    assert any("trust no forecast" in note for note in found.cautions)


@pytest.mark.filterwarnings("error")
def test_a_tiny_loss_is_fitted_without_overflow():
    runs = isoflops()
    plain, tiny = (fit(runs.with_column("loss", runs["loss"] * by), "auto") for by in (1, 1e-8))
    at = {"params": 1e9, "tokens": 2e10}
    assert tiny.predict(**at).loss == pytest.approx(1e-8 * plain.predict(**at).loss, rel=0.05)


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [("params", 1e-6, "millions"), ("tokens", 1e-9, "billions"), ("flops", 1e-3, "units")],
)
def test_units_that_look_wrong_are_warned_of(name, factor, said):
    runs = isoflops()
    spoilt = runs.with_column(name, runs[name] * factor)
    assert any(said in note for note in fit(spoilt, "chinchilla").notes)
    assert not any(said in note for note in fit(runs, "chinchilla").notes)


def test_losses_in_bits_among_nats_are_warned_of():
    runs = isoflops(noise=0.002)
    loss = runs["loss"].copy()
    loss[[4, 20, 33]] /= math.log(2)
    assert any("bits" in note for note in fit(runs.with_column("loss", loss), "chinchilla").notes)
    assert not any("bits" in note for note in fit(runs, "chinchilla").notes)


def test_clean_drops_what_misleads_and_lists_each_row():
    runs = isoflops(noise=0.001)
    columns = {n: np.append(v, v[[3, 12, 20]]) for n, v in runs.columns.items()}
    columns["loss"][-3] *= 1.0002  # a near-duplicate of row 4
    columns["loss"][-2] *= 1.2  # an outlier
    columns["params"][-1] *= 40  # off the centre of its isoFLOP
    columns["tokens"][-1] /= 40
    found = drop_outliers(Runs.from_columns(columns))
    assert len(found) == len(runs)
    text = " ".join(found.notes)
    for row in (55, 56, 57):
        assert f"rows {row})" in text
    assert drop_outliers(runs).notes == ()


def test_near_duplicates_are_those_that_all_pairs_give():
    rng = np.random.default_rng(0)
    log = 1e-3 * rng.uniform(0, 4, size=(400, 4))  # crowded: chains of neighbours, many cells
    log[100:140] = log[60:100]
    columns = dict(zip(("params", "tokens", "flops", "loss"), np.exp(log).T, strict=True))
    runs = Runs.from_columns(columns)
    seen = np.log(np.stack([runs[name] for name in columns], axis=1))
    away = np.abs(seen[:, None] - seen[None]).max(axis=2)
    expected = np.tril(away <= 1e-3, -1).any(axis=1)
    assert 0.1 < expected.mean() < 0.99
    np.testing.assert_array_equal(_near_duplicates(runs, "loss"), expected)
    same = Runs.from_columns({name: np.ones(50_000) for name in columns})
    assert _near_duplicates(same, "loss").sum() == 49_999


@pytest.mark.parametrize("row", ["1e6;2e7;3.5", "1e6;2e7;3,5"])
def test_semicolons_are_named(tmp_path, row):
    file = tmp_path / "runs.csv"
    file.write_text(f"params;tokens;loss\n{row}\n")
    with pytest.raises(ScalaxError, match="separated by commas, got semicolons"):
        read_runs(file)
