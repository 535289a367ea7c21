"""What a two-tower model is and costs: tables, exact counts, FLOPs, the shape of a size.

Arithmetic on plain numbers; it never imports jax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scalax as sx

_ROW_STEP = 64  # rows of a table come in such steps, so that any mesh divides them
_MLP = 4  # the hidden layer's width in widths of an embedding
_MOST = 65536


@dataclass(frozen=True)
class TwoTowerShape:
    """A table of items that both towers read, one of users' fields, and the user tower's MLP.

    Attributes:
        items: Item numbers, 0 for none among them.
        rows: Rows of the item table; fewer than ``items`` share rows by hash.
        field_rows: Rows of the table that fields are hashed to; 0 where users have none.
        width: Of an embedding.
        hidden: Width of the MLP.
        negatives: Items that each target is ranked among.
    """

    items: int
    rows: int
    field_rows: int
    width: int
    hidden: int
    negatives: int


def counts(shape: TwoTowerShape) -> sx.Counts:
    """Exact parameter counts; all but norm and MLP are embeddings.

    Every parameter counts as active, though an example touches few rows.

    Example:
        >>> counts(shape_for(1e5, items=4000, fields=2, negatives=127)).params
        98971
    """
    s = shape
    tables = (s.rows + s.field_rows) * s.width
    params = tables + s.width + 2 * s.width * s.hidden
    return sx.Counts(params=params, params_embedding=tables, params_active=params)


def flops_per_example(shape: TwoTowerShape) -> float:
    """Training FLOPs of one example: each multiply-add of MLP and scores is two, and three times.

    Look-ups, sums over them, norm and softmax are not counted: the tables cost memory and its
    traffic, not FLOPs, whatever their rows.

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
    """The model nearest to a size: the embeddings' width follows from the tables' rows.

    Args:
        params: Target for all parameters; None for what ``width`` comes to.
        items: Item numbers.
        fields: Fields of a user.
        negatives: Items that each target is ranked among.
        width: Of an embedding, where it is fixed.
        rows: Of the item table; None for one an item.
        field_rows: Of the fields' table.
        hidden: Width of the MLP, where it is fixed; four widths otherwise.

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
            hidden=hidden or _MLP * width,
            negatives=negatives,
        )

    if params is None:
        assert width is not None
        return member(width)
    return sx.nearest_shape(
        params,
        member if width is None else [member(width)],
        lambda shape: counts(shape).params,
        what=f"model with tables of {member(1).rows:,} and {member(1).field_rows:,} rows",
    )
