"""Reads fit.json back into a fit, and says which key is wrong where it is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalax.errors import ScalaxError
from scalax.files import read_bytes
from scalax.laws.base import ComputeRule
from scalax.laws.resolve import saved_law
from scalax.predict.ensemble_law import NAME as ENSEMBLE
from scalax.predict.fit_result import FORMAT, Fit
from scalax.predict.forecast_error import ForecastError


def read_fit(path: str | Path) -> Fit:
    """Reads fit.json.

    Args:
        path: The file.

    Raises:
        ScalaxError: It is missing, not JSON, or not a fit; names the key at fault.
    """
    try:
        found = json.loads(read_bytes(path))
    except FileNotFoundError:
        raise ScalaxError(
            "no such file", where=str(path), fix=f"scalax fit RUNS --out {path}"
        ) from None
    except (OSError, ValueError) as error:
        raise ScalaxError(f"not a fit: {error}", where=str(path)) from None
    return fit_from_json(found, where=str(path))


def fit_from_json(found: Any, *, where: str) -> Fit:
    """A fit from what `Fit.to_json` gave; see `read_fit`."""
    if not isinstance(found, dict) or "law" not in found:
        raise ScalaxError(
            'expected an object with "law" and "coefficients"',
            where=where,
            fix="give a file that scalax fit wrote",
        )
    from scalax.predict.fit_file import FitFile
    from scalax.schema import parse

    if "format" in found and found["format"] is not True and found["format"] != FORMAT:
        raise ScalaxError(
            f"expected {FORMAT}, got {found['format']!r}",
            where=f"{where}: format",
            fix="read it with the scalax that wrote it, or fit again",
        )
    parse(FitFile, found, where=where)
    known = {key: found[key] for key in Fit.__dataclass_fields__ if key in found}
    members = known.get("members", [])
    if found["law"] == ENSEMBLE:
        if not members:
            raise ScalaxError("expected at least one member", where=f"{where}: members")
        known["coefficients"] = None
    else:
        known["coefficients"] = _coefficients(found["law"], found.get("coefficients"), where)
        width = len(known["coefficients"])
        for k, row in enumerate(known.get("samples", [])):
            if len(row) != width:
                raise ScalaxError(
                    f"expected {width} coefficients, got {len(row)}", where=f"{where}: samples[{k}]"
                )
    known["members"] = [_member(m, f"{where}: members[{k}]") for k, m in enumerate(members)]
    if "compute" in known:
        known["compute"] = ComputeRule(**known["compute"])
    for name in ("error", "split_error"):
        if known.get(name) is not None:
            known[name] = ForecastError(**known[name])
    return Fit(**known)


def _coefficients(law: str, given: Mapping[str, float] | None, where: str) -> dict[str, float]:
    form = saved_law(law, where)
    wanted = {c.name: c for c in form.coefficients}
    if given is None or set(given) != set(wanted):
        raise ScalaxError(f"expected coefficients {', '.join(wanted)}", where=where)
    for name, value in given.items():
        if value <= 0 < wanted[name].low:
            raise ScalaxError(
                f"expected a positive number, got {value!r}", where=f"{where}: coefficients.{name}"
            )
    return {name: float(given[name]) for name in wanted}


def _member(given: dict[str, Any], where: str) -> dict[str, Any]:
    coefficients = _coefficients(given["law"], given["coefficients"], where)
    return {"weights": "flat", **given, "coefficients": coefficients}
