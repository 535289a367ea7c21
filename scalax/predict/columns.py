"""Checks the columns of a query and completes them for its law. It computes no loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.base import ComputeRule, Law

_MAY_BE_ZERO = ("sparsity", "lr_annealing")
Values = float | Sequence[float] | np.ndarray
"""One column of a query: a number, or one number for each point."""


def query_columns(
    form: Law, compute: ComputeRule, columns: Mapping[str, Values | None]
) -> tuple[dict[str, np.ndarray], int, bool]:
    """Returns the columns of a forecast.

    Args:
        form: The law.
        compute: The rule that gives flops from params and tokens.
        columns: Numbers or sequences by name; None where not given.

    Returns:
        Columns by name, each a number or [points]; the number of points; and whether any column
        was a sequence.

    Raises:
        ScalaxError: A value is not a positive number, lengths differ, or a column that the law
            reads is missing.
    """
    given = {k: v for k, v in columns.items() if v is not None}
    many = any(np.ndim(v) > 0 for v in given.values())
    x = {k: np.atleast_1d(_checked(k, v)) for k, v in given.items()}
    lengths = {k: v.size for k, v in x.items() if v.size != 1}
    if len(set(lengths.values())) > 1:
        shown = " but ".join(f"{n} {k}" for k, n in lengths.items())
        raise ScalaxError(shown, fix="give as many values in each column")
    if "flops" not in x and {"params", "tokens"} <= set(x):
        full = form.complete(x) if "params_active" in form.columns else x
        x["flops"] = np.asarray(compute.flops(form.params_computed(full), x["tokens"]))
    _require_sizes(form, x)
    complete = {name: np.asarray(value) for name, value in form.complete(x).items()}
    return complete, max([1, *lengths.values()]), many


def given_columns(form: Law, given: Mapping[str, float]) -> dict[str, float]:
    """Returns the columns of an allocation other than params and tokens, checked.

    Raises:
        ScalaxError: The law doesn't read a column, or a value is not a positive number.
    """
    known = [*form.columns, *(["sparsity"] if "params_active" in form.columns else [])]
    extra = [name for name in known if name not in ("params", "tokens", "params_active")]
    for name in given:
        if name not in extra:
            raise ScalaxError(
                f"{form.name} reads no {name!r}",
                where="--given",
                fix=f"it reads {', '.join(extra) or 'nothing besides params and tokens'}",
            )
    return {name: float(_checked(name, value)) for name, value in given.items()}


def assumptions(form: Law, given: Mapping[str, Values]) -> list[str]:
    """Returns a sentence on each assumption about a column that was not given."""
    if "sparsity" in given:
        return []
    return [words for name, (words, _) in form.assumed.items() if name not in given]


def positive(name: str, value: Values) -> np.ndarray:
    """Returns the values as an array, and checks that they are positive and finite.

    Raises:
        ScalaxError: A value is not.
    """
    return _numbers(name, value, zero=False)


def _checked(name: str, value: Values) -> np.ndarray:
    return _numbers(name, value, zero=name in _MAY_BE_ZERO)


def _numbers(name: str, value: Values, *, zero: bool) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ScalaxError(f"expected numbers, got {value!r}", where=name) from None
    bad = numbers[~(np.isfinite(numbers) & ((numbers > 0) | (zero & (numbers == 0))))]
    if bad.size:
        expected = "a number of 0 or more" if zero else "a positive number"
        raise ScalaxError(
            f"expected {expected}, got {bad.flat[0]:g}", where=name, fix="write 1e9, say"
        )
    return numbers


def _require_sizes(form: Law, x: Mapping[str, np.ndarray]) -> None:
    for name in ("params", "tokens", "flops"):
        if name in form.columns and name not in x:
            raise ScalaxError(f"{form.name} needs {name}", where="predict", fix=f"give --{name}")
