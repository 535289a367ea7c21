"""Shape, exact parameter counts and FLOPs of a two-tower model, and its size search.

The file does arithmetic on plain numbers and never imports jax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scalax as sx

_ROW_STEP = 64  # rows of a table are multiples of this, so that any mesh divides them
_HIDDEN_RATIO = 4  # default width of the hidden layer, in widths of an embedding


@dataclass(frozen=True)
class TwoTowerShape:
    """An item table that both towers use, a table of users' fields, and the user tower's MLP.

    Attributes:
        items: Count of item numbers, including 0 for no item.
        rows: Rows of the item table; if there are fewer than ``items``, items share rows by hash.
        field_rows: Rows of the table that fields are hashed to; 0 if users have no fields.
        width: Width of an embedding.
        hidden: Width of the MLP.
        negatives: Number of items that each target is ranked against.
    """

    items: int
    rows: int
    field_rows: int
    width: int
    hidden: int
    negatives: int


def counts(shape: TwoTowerShape) -> sx.Counts:
    """Returns exact parameter counts; all parameters but norm and MLP are embeddings.

    Every parameter counts as active, although an example reads few rows.

    Example:
        >>> counts(shape_for(1e5, items=4000, fields=2, negatives=127)).params
        98971
    """
    s = shape
    tables = (s.rows + s.field_rows) * s.width
    params = tables + s.width + 2 * s.width * s.hidden
    return sx.Counts(params=params, params_embedding=tables, params_active=params)


def flops_per_example(shape: TwoTowerShape) -> float:
    """Returns training FLOPs of one example: those of MLP and scores, forward and backward.

    Look-ups, their sums, norm and softmax are not counted. Tables cost memory and memory traffic,
    not FLOPs.

    Example:
        >>> flops_per_example(shape_for(1e5, items=4000, fields=2, negatives=127))
        31920.0
    """
    s = shape
    return 3 * 2.0 * (2 * s.width * s.hidden + (1 + s.negatives) * s.width)


def shape_for(
    params: float | None,
    *,
    items: int,
    fields: int,
    negatives: int,
    width: int | None = None,
    rows: int | None = None,
    field_rows: int = 1024,
    hidden: int | None = None,
) -> TwoTowerShape:
    """Returns the model nearest to a target size, by choosing the width of the embeddings.

    Args:
        params: Target for all parameters; None for the model that ``width`` determines.
        items: Count of item numbers.
        fields: Number of fields of a user.
        negatives: Number of items that each target is ranked against.
        width: Width of an embedding, if it is fixed.
        rows: Rows of the item table; None for one row per item.
        field_rows: Rows of the table of fields.
        hidden: Width of the MLP; four times ``width`` by default.

    Raises:
        ScalaxError: No width comes within 10 % of the target.

    Example:
        >>> shape_for(1e5, items=4000, fields=2, negatives=127).width
        19
    """
    steps = math.ceil((rows or items) / _ROW_STEP)

    def member(width: int) -> TwoTowerShape:
        return TwoTowerShape(
            items=items,
            rows=steps * _ROW_STEP,
            field_rows=math.ceil(field_rows / _ROW_STEP) * _ROW_STEP if fields else 0,
            width=width,
            hidden=hidden or _HIDDEN_RATIO * width,
            negatives=negatives,
        )

    if params is None:
        assert width is not None
        return member(width)
    smallest = member(1)
    return sx.nearest_shape(
        params,
        member if width is None else [member(width)],
        lambda shape: counts(shape).params,
        what=f"two-tower model with tables of {smallest.rows:,} and {smallest.field_rows:,} rows",
        fix="ask for another size, or set model.rows",
    )
