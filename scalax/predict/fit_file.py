"""The schema of fit.json: what each key must hold. It comes from `Fit` and builds none.

Only reading a file imports it, as it needs pydantic; a query of a published law does not.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, create_model

from scalax.laws.base import ComputeRule
from scalax.predict import fit_result
from scalax.predict.forecast_error import ForecastError
from scalax.schema import Settings

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Finite(Settings):
    model_config = ConfigDict(allow_inf_nan=False)


class _Member(_Finite):
    """One law of an ensemble."""

    law: str
    share: Share
    coefficients: dict[str, float]
    weights: str = "flat"


def _schema(of: type, **refined: Any) -> type[_Finite]:
    """A schema with the fields of a dataclass, some of them narrower than their type."""
    hints = get_type_hints(of)
    found: dict[str, Any] = {}
    for each in fields(of):
        optional = each.default is not MISSING or each.default_factory is not MISSING
        kind = refined.get(each.name, hints[each.name])
        found[each.name] = (kind, None if optional else ...)
    made: type[_Finite] = create_model(f"{of.__name__}File", __base__=_Finite, **found)
    return made


_Compute = _schema(ComputeRule, coefficient=Positive, exponent=Positive)
_Error = _schema(
    ForecastError, reach=Positive, noise=NotNegative, form=NotNegative, quantile=NotNegative
)


# A base made at run time from the dataclass is more than a type checker follows.
class FitFile(
    _schema(  # type: ignore[misc]
        fit_result.Fit,
        coefficients=dict[str, float] | None,
        intervals=dict[str, Ends] | None,
        level=Annotated[float, Field(gt=0, lt=1)],
        compute=_Compute,
        ranges=dict[str, Ends],
        diagnostics=dict[str, float | None],
        members=list[_Member],
        error=_Error | None,
        split_error=_Error | None,
    )
):
    """All of fit.json."""

    format: int = fit_result.FORMAT
    coefficients: dict[str, float] | None = None
