"""The pydantic schema of fit.json, derived from `Fit`.

Only reading a file imports it: a query of a published law does not need pydantic.
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


def _schema(dataclass: type, **narrowed: Any) -> type[_Finite]:
    """Returns a schema with a dataclass's fields; ``narrowed`` replaces the types of some."""
    hints = get_type_hints(dataclass)
    schema_fields: dict[str, Any] = {}
    for item in fields(dataclass):
        optional = item.default is not MISSING or item.default_factory is not MISSING
        kind = narrowed.get(item.name, hints[item.name])
        schema_fields[item.name] = (kind, None if optional else ...)
    model: type[_Finite] = create_model(
        f"{dataclass.__name__}File", __base__=_Finite, **schema_fields
    )
    return model


_Compute = _schema(ComputeRule, coefficient=Positive, exponent=Positive)
_Error = _schema(
    ForecastError, reach=Positive, noise=NotNegative, form=NotNegative, quantile=NotNegative
)


# A type checker can't follow a base class that is made at run time from a dataclass.
class FitFile(
    _schema(  # type: ignore[misc]
        fit_result.Fit,
        coefficients=dict[str, float] | None,
        intervals=dict[str, Ends] | None,
        level=Annotated[float, Field(gt=0, lt=1)],
        compute=_Compute,
        ranges=dict[str, Ends],
        samples=list[list[float]],
        residuals=list[float],
        diagnostics=dict[str, float | None],
        members=list[_Member],
        error=_Error | None,
        split_error=_Error | None,
    )
):
    """The content of fit.json."""

    format: int = fit_result.FORMAT
    coefficients: dict[str, float] | None = None
