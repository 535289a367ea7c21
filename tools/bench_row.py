"""One row of a bench: what `make bench-fit` and `make bench-simulator` print lists of."""

from __future__ import annotations

from typing import Any


def row(
    name: str, ours: Any, target: Any, met: bool | None, reference: float | None = None
) -> dict[str, Any]:
    """One row of the table; the ratio is reference over ours."""
    ratio = None if reference is None or not ours else reference / ours
    return {
        "name": name,
        "reference": reference,
        "ours": ours,
        "ratio": ratio,
        "target": target,
        "met": met,
    }
