"""Reads fit.json: a written file reads back equal, and errors name the wrong key in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule
from scalax.predict.fit_result import Fit
from scalax.predict.forecast_error import ForecastError
from scalax.predict.read_fit import read_fit

C = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
ERROR = {"reach": 1e20, "noise": 0.01, "form": 0.01, "power": 1.0, "doubt": 1.0, "quantile": 2.0}
GOOD: dict[str, Any] = {"format": 1, "law": "chinchilla", "coefficients": C}


def read(path: Path, change: dict[str, Any]) -> Fit:
    file = path / "fit.json"
    file.write_text(json.dumps(GOOD | change))
    return read_fit(file)


def test_a_written_fit_reads_back_equal(tmp_path: Path) -> None:
    error = ForecastError(**ERROR)
    fit = Fit(
        "chinchilla",
        C,
        intervals={name: [value / 2, value * 2] for name, value in C.items()},
        objective=1,
        rows=9,
        compute=ComputeRule(5.9, 1.01),
        ranges={"flops": [1e18, 1e20]},
        samples=[list(C.values())] * 3,
        residuals=[0.0, 0.1],
        settings={"seed": 3},
        diagnostics={"condition": 10.0, "starts": 4},
        error=error,
        split_error=error,
    )
    fit.save(tmp_path / "fit.json")
    assert read_fit(tmp_path / "fit.json") == fit
    # A condition that overflowed is written as null.
    assert read(tmp_path, {"diagnostics": {"condition": None}}).diagnostics == {"condition": None}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"format": 2}, "format"),
        ({"format": True}, "format"),
        ({"law": 3}, "law"),
        ({"law": "ensemble", "members": [{"law": "chinchilla"}]}, "members[0].share"),
        (
            {
                "law": "ensemble",
                "members": [{"law": "chinchilla", "share": True, "coefficients": C}],
            },
            "members[0].share",
        ),
        ({"coefficients": {**C, "E": True}}, "coefficients.E"),
        ({"coefficients": {**C, "E": "1.7"}}, "coefficients.E"),
        ({"coefficients": {**C, "E": float("nan")}}, "coefficients.E"),
        ({"coefficients": {**C, "A": -406.4}}, "coefficients.A"),
        ({"coefficients": {**C, "alpha": 0}}, "coefficients.alpha"),
        ({"coefficients": [1, 2]}, "coefficients"),
        ({"ranges": [1]}, "ranges"),
        ({"ranges": {"flops": [1]}}, "ranges.flops"),
        ({"ranges": {"flops": ["1", 2]}}, "ranges.flops"),
        ({"error": {**ERROR, "reach": "x"}}, "error.reach"),
        ({"error": {**ERROR, "reach": 0}}, "error.reach"),
        ({"error": {"reach": 1.0}}, "error.noise"),
        ({"split_error": 3}, "split_error"),
        ({"compute": {"coefficient": "6"}}, "compute.coefficient"),
        ({"compute": {"coefficient": -6.0}}, "compute.coefficient"),
        ({"compute": {"rate": 6.0}}, "compute.rate"),
        ({"compute": None}, "compute"),
        ({"level": 1.5}, "level"),
        ({"samples": [[1.0] * 5, [1.0] * 4]}, "samples[1]"),
        ({"samples": {}}, "samples"),
        ({"residuals": [None]}, "residuals[0]"),
        ({"notes": "none"}, "notes"),
        ({"intervals": {"E": None}}, "intervals.E"),
        ({"coeficients": C}, "coeficients"),
    ],
)
def test_errors_name_the_wrong_key(change: dict[str, Any], key: str, tmp_path: Path) -> None:
    with pytest.raises(ScalaxError) as error:
        read(tmp_path, change)
    assert f"fit.json: {key}" in str(error.value)
    assert "\n" not in str(error.value)
