"""Reads fit.json into a `Fit`; an error names the key that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalax.errors import ScalaxError
from scalax.files import read_bytes
from scalax.laws.base import ComputeRule
from scalax.laws.resolve import saved_law
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.ensemble_law import EnsembleMember
from scalax.predict.fit_result import FORMAT, Fit
from scalax.predict.forecast_error import ForecastError


def read_fit(path: str | Path) -> Fit:
    """Reads fit.json.

    Args:
        path: The file.

    Raises:
        ScalaxError: The file is missing, not JSON, or not a fit; names the wrong key.
    """
    try:
        content = json.loads(read_bytes(path))
    except FileNotFoundError:
        raise ScalaxError(
            "no such file", where=str(path), fix=f"scalax fit RUNS --out {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise ScalaxError(f"not a fit: {error}", where=str(path)) from None
    return fit_from_json(content, where=str(path))


def fit_from_json(content: Any, *, where: str) -> Fit:
    """Returns the fit that `Fit.to_json` wrote; see `read_fit`."""
    if not isinstance(content, dict) or "law" not in content:
        raise ScalaxError(
            'expected an object with "law" and "coefficients"',
            where=where,
            fix="give a file that scalax fit wrote",
        )
    from scalax.predict.fit_schema import FitFile
    from scalax.schema import parse

    if "format" in content and content["format"] is not True and content["format"] != FORMAT:
        raise ScalaxError(
            f"expected {FORMAT}, got {content['format']!r}",
            where=f"{where}: format",
            fix="read it with the scalax version that wrote it, or fit again",
        )
    parse(FitFile, content, where=where)
    values = {key: content[key] for key in Fit.__dataclass_fields__ if key in content}
    members = values.get("members", [])
    samples = values.get("samples", [])
    width = 0
    if content["law"] == ENSEMBLE:
        if not members:
            raise ScalaxError("expected at least one member", where=f"{where}: members")
        values["coefficients"] = None
    else:
        values["coefficients"] = _coefficients(content["law"], content.get("coefficients"), where)
        width = len(values["coefficients"])
        for k, row in enumerate(samples):
            if len(row) != width:
                raise ScalaxError(
                    f"expected {width} coefficients, got {len(row)}", where=f"{where}: samples[{k}]"
                )
    if samples:
        values["samples"] = np.asarray(samples, dtype=float)
    else:
        values.pop("samples", None)
    values["residuals"] = np.asarray(values.get("residuals", []), dtype=float)
    values["members"] = [_member(m, f"{where}: members[{k}]") for k, m in enumerate(members)]
    if "compute" in values:
        values["compute"] = ComputeRule(**values["compute"])
    for name in ("error", "split_error"):
        if values.get(name) is not None:
            values[name] = ForecastError(**values[name])
    return Fit(**values)


def _coefficients(law: str, given: Mapping[str, float] | None, where: str) -> dict[str, float]:
    form = saved_law(law, where)
    expected = {c.name: c for c in form.coefficients}
    if given is None or set(given) != set(expected):
        raise ScalaxError(f"expected coefficients {', '.join(expected)}", where=where)
    for name, value in given.items():
        if value <= 0 < expected[name].low:
            raise ScalaxError(
                f"expected a positive number, got {value!r}", where=f"{where}: coefficients.{name}"
            )
    return {name: float(given[name]) for name in expected}


def _member(given: Mapping[str, Any], where: str) -> EnsembleMember:
    coefficients = _coefficients(given["law"], given["coefficients"], where)
    return EnsembleMember(given["law"], given.get("weights", "flat"), given["share"], coefficients)
