"""What a row of a benchmark is."""

from __future__ import annotations

from typing import Any


def row(
    name: str, reference: Any, ours: Any, ratio: float | None, target: Any, met: bool | None
) -> dict[str, Any]:
    """A row: ``ratio`` above 1 means ours is better; ``met`` is None where it was not measured."""
    return {
        "name": name,
        "reference": reference,
        "ours": ours,
        "ratio": ratio,
        "target": target,
        "met": met,
    }
