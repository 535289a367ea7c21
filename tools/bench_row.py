"""Builds a row of a benchmark; `make bench` prints lists of such rows as JSON."""

from __future__ import annotations

from typing import Any


def row(
    name: str,
    ours: Any,
    target: Any,
    met: bool | None,
    reference: Any = None,
    *,
    ratio: float | None = None,
) -> dict[str, Any]:
    """Returns a row of the table.

    Args:
        name: What is measured.
        ours: The value of scalax.
        target: The value to reach.
        met: Whether the target is met; None if it could not be measured.
        reference: The value to compare with.
        ratio: By default reference over ours, for values that should be small.
    """
    if ratio is None and reference is not None and ours:
        ratio = reference / ours
    return {
        "name": name,
        "reference": reference,
        "ours": ours,
        "ratio": ratio,
        "target": target,
        "met": met,
    }
