"""One row of a bench: what the make targets of benches print lists of."""

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
    """One row of the table; ``met`` is None where it could not be measured.

    The ratio is reference over ours, for what should be small, unless another is given.
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
