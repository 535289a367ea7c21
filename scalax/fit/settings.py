"""Declares the settings of a fit, once: names, types, defaults and help.

The keywords of `scalax.fit`, the options of ``scalax fit`` and the ``[fit]`` section of an
experiment are all derived from `FitSettings`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from scalax.errors import ScalaxError
from scalax.fit.cost import Kind
from scalax.fit.rows import Weights
from scalax.schema import Settings, parse


def _as_tuple(value: Any) -> Any:
    """Turns the lists that TOML and JSON give into tuples."""
    return tuple(value) if isinstance(value, list) else value


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if not span[0] < span[1]:
        raise ValueError(f"a least value below the greatest, not {span[0]:g} and {span[1]:g}")
    return span


_Pair = Annotated[tuple[str, str], BeforeValidator(_as_tuple)]
_Span = Annotated[tuple[float, float], BeforeValidator(_as_tuple), AfterValidator(_ordered)]


SEVERAL_LAWS = ("auto", "posterior")
"""Values of ``law`` that fit several laws instead of one."""


class RowSettings(Settings):
    """Settings that prepare the rows of a table: which columns to read and which rows to drop."""

    model_config = ConfigDict(allow_inf_nan=False)

    metric: str = Field("loss", description="The column to fit.")
    columns: Mapping[str, str] = Field(
        default_factory=dict,
        description='Our column names and yours, such as "params=Model Size".',
    )
    drop_worst: Annotated[int, Field(ge=0)] = Field(
        0, description="Number of rows to drop, those with the highest metric."
    )
    clean: bool = Field(
        False, description="Drop near-duplicates, off-centre isoFLOP points and outliers."
    )

    @model_validator(mode="before")
    @classmethod
    def _plain_values(cls, values: Any) -> Any:
        """Accepts numpy scalars, and None for a default; renames a deprecated key."""
        if not isinstance(values, Mapping):
            return values
        plain = {
            key: value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value
            for key, value in values.items()
            if value is not None
        }
        if "rollout" in plain and "backtest" in cls.model_fields:
            warnings.warn("rollout is now named backtest", DeprecationWarning, stacklevel=2)
            plain.setdefault("backtest", plain.pop("rollout"))
        return plain


class ObjectiveSettings(RowSettings):
    """How the rows are prepared, and what a residual costs: the settings of `scalax.compare`."""

    delta: Annotated[float, Field(gt=0)] = Field(
        1e-3, description="Log residual beyond which the Huber cost is linear."
    )
    cost: Kind = Field("huber", description="Cost of a log residual.")


class EstimatorSettings(ObjectiveSettings):
    """All settings of a fit except the law."""

    weights: Weights = Field("flat", description="Row weights: uniform, sqrt(FLOPs) or FLOPs.")
    bootstrap: Annotated[int, Field(ge=0)] = Field(
        0, description="Resamples for intervals of the coefficients; 0 for none."
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of the resampling.")
    level: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="Nominal coverage of the intervals."
    )
    fixed: Mapping[str, float] = Field(
        default_factory=dict, description="Fix a coefficient at a value."
    )
    ties: Annotated[Sequence[_Pair], AfterValidator(tuple)] = Field(
        (), description="Keep two coefficients equal."
    )
    bounds: Mapping[str, _Span] = Field(
        default_factory=dict, description="Keep a coefficient between two values."
    )
    backtest: bool = Field(
        True, description="Forecast hidden budgets to learn the intervals of forecasts."
    )


class FitSettings(EstimatorSettings):
    """All settings of a fit."""

    law: str = Field(
        "auto",
        description="The law to fit; auto combines the laws that forecast the largest budgets "
        "best; posterior updates published laws, for few rows.",
    )

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as JSON values; ``rollout`` is the old name of ``backtest``."""
        return {**self.model_dump(mode="json"), "rollout": self.backtest}

    def reject_settings_of_one_law(self) -> None:
        """Rejects settings that apply to a single law when several are fitted.

        Raises:
            ScalaxError: A coefficient is constrained, or the rows are weighted.
        """
        for name, is_set in (
            ("fixed", self.fixed),
            ("ties", self.ties),
            ("bounds", self.bounds),
            ("weights", self.weights != "flat"),
        ):
            if is_set:
                raise ScalaxError(
                    f"{name} applies to a single law, and {self.law} fits several",
                    where=name,
                    fix="leave it out, or name a law",
                )


def fit_settings(**values: Any) -> FitSettings:
    """Returns validated settings.

    Raises:
        ScalaxError: A setting is unknown or its value is wrong; names the setting.
    """
    return parse(FitSettings, values, where="fit")
