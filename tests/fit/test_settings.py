"""One declaration of a fit's settings: the command, the function and [fit] agree."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import scalax as sx
from scalax.cli.fit import fit as command
from scalax.cli.settings_options import flag_of
from scalax.errors import ScalaxError
from scalax.files import write_json
from scalax.fit.estimate import fit, fit_table, rows_of
from scalax.fit.settings import EstimatorSettings, FitSettings, fit_settings
from scalax.runs.csv_writer import write_runs
from scalax.sweep.experiment import Experiment
from tests.fit.tables import isoflops

SECTIONS = {
    "data": {"dataset": "text"},
    "model": {"family": "transformer"},
    "sweep": {"kind": "grid", "params": [1e4], "tokens": [1e4]},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy table with two settings at each of its points, an outlier and a duplicate."""
    runs = isoflops(noise=0.004).where(slice(9, 45))
    rows = []
    for row in runs.rows():
        planned = {"target_params": row["params"], "target_tokens": row["tokens"]}
        rows.append(row | planned | {"learning_rate": 0.001})
        rows.append(row | planned | {"learning_rate": 0.002, "loss": 1.03 * row["loss"]})
    rows.append(dict(rows[0]))
    rows[20]["loss"] *= 1.2
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    write_runs(path, rows)
    return path


@pytest.mark.parametrize(
    ("section", "options"),
    [
        ({}, []),
        (
            {"law": "chinchilla", "bootstrap": 20, "seed": 3, "level": 0.8, "clean": True},
            ["--law", "chinchilla", "--bootstrap", "20", "--seed", "3", "--interval", "0.8",
             "--clean"],
        ),
        (
            {"law": "chinchilla", "weights": "compute", "drop_worst": 2, "cost": "l2",
             "fixed": {"E": 1.7}, "bounds": {"alpha": [0.1, 0.6]}, "backtest": False},
            ["--law", "chinchilla", "--weights", "compute", "--drop-worst", "2", "--cost", "l2",
             "--fix", "E=1.7", "--bound", "alpha=0.1:0.6", "--no-backtest"],
        ),
    ],
)  # fmt: skip
def test_the_command_the_function_and_the_section_give_one_fit(
    table: Path, tmp_path: Path, section: dict[str, object], options: list[str]
) -> None:
    out = tmp_path / "fit.json"
    command = [sys.executable, "-m", "scalax", "fit", str(table), *options, "--json"]
    plain = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    saved = subprocess.run([*command, "--out", out], capture_output=True, check=True).stdout
    asked = Experiment.model_validate({"name": "x", **SECTIONS, "fit": section}).fit
    by_section = fit_table(rows_of(str(table), asked), asked).to_json()
    by_function = sx.fit(str(table), **section).to_json()
    write_json(tmp_path / "function.json", by_function)
    write_json(tmp_path / "section.json", by_section)
    complete = json.loads(out.read_text())
    for name in ("function.json", "section.json"):
        other = json.loads((tmp_path / name).read_text())
        assert other | {"seconds": 0} == complete | {"seconds": 0}
    # Neither the answer nor its notes depend on --out.
    assert plain | {"seconds": 0} == json.loads(saved) | {"seconds": 0}
    assert plain.items() <= (complete | {"seconds": plain["seconds"]}).items()


def test_every_setting_is_an_option_a_keyword_and_a_key_with_one_default() -> None:
    options = {option.opts[0]: option for option in command.params}
    keywords = inspect.signature(sx.fit).parameters
    for name, field in FitSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        assert field.description
        assert keywords[name].default == default
        option = options[flag_of(name)]
        if name not in ("columns", "fixed", "ties", "bounds"):
            assert option.default == default
    assert (
        FitSettings().law == Experiment.model_validate({"name": "x", **SECTIONS}).fit.law == "auto"
    )


def test_rollout_is_a_deprecated_name_of_backtest() -> None:
    with pytest.warns(DeprecationWarning, match="backtest"):
        assert not fit_settings(rollout=False).backtest
    with pytest.raises(ScalaxError, match="auto chooses by backtests"):
        fit(isoflops(), backtest=False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"delta": -1.0}, r"fit\.delta: expected .*greater than 0, got -1"),
        ({"bounds": {"E": [2.0, 1.0]}}, r"fit\.bounds\.E: expected a least value below"),
        ({"boostrap": 3}, r"fit\.boostrap: unknown key.*did you mean 'bootstrap'"),
        ({"weights": "heavy"}, r"fit\.weights: expected 'flat', 'compute' or 'flops'"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ScalaxError, match=message):
        sx.fit(isoflops(), **values)  # type: ignore[arg-type]


def test_compare_takes_the_settings_that_it_uses_and_no_other() -> None:
    with pytest.raises(ScalaxError, match=r"compare\.bootstrap: unknown key"):
        sx.compare(isoflops(), bootstrap=5)
    assert set(inspect.signature(sx.compare).parameters) - {"runs", "laws"} == {
        "metric", "columns", "drop_worst", "clean", "delta", "cost",
    }  # fmt: skip
    assert set(EstimatorSettings.model_fields) == set(FitSettings.model_fields) - {"law"}


def test_compare_and_fit_agree_on_the_rows_and_the_estimate(table: Path) -> None:
    scores = sx.compare(str(table), ["chinchilla", "power-flops"], clean=True, drop_worst=1)
    for score in scores[:4]:
        found = sx.fit(
            str(table), score.law, weights=score.weights, clean=True, drop_worst=1, backtest=False
        )
        assert score.coefficients == found.coefficients
    with_rows = [n for n in found.notes if "set aside" in n or "dropped" in n or "cleaned" in n]
    assert len(with_rows) >= 3


def test_compare_ranks_the_law_that_made_the_rows_above_one_that_cannot() -> None:
    scores = sx.compare(isoflops())
    order = [score.law for score in scores]
    assert order.index("chinchilla") < order.index("kaplan")
    best = min(s.mean_error for s in scores if s.law == "chinchilla")
    assert best < 1e-6  # the rows are exact, and no prior pulls the estimate off them
