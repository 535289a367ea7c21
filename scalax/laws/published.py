"""Reads the published laws: whose coefficients they are, where printed, what they count."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

from scalax.errors import ScalaxError, suggest


@dataclass(frozen=True)
class Published:
    """A law with the coefficients that a paper gives.

    Attributes:
        name: What a user writes, such as ``hoffmann2022``.
        law: The law form's name.
        title: One line for a listing.
        paper: Authors, year, title, identifier.
        where: Table, equation or section, and what to know of the digits.
        checked: The day the coefficients were checked against the source, ISO.
        params_counted: Which parameters its N counts.
        compute: The compute constraint it was derived under.
        coefficients: By name.
    """

    name: str
    law: str
    title: str
    paper: str
    where: str
    checked: str
    params_counted: str
    compute: str
    coefficients: dict[str, float]


@functools.cache
def published() -> dict[str, Published]:
    """All published laws by name."""
    text = resources.files("scalax.laws").joinpath("published.toml").read_text(encoding="utf-8")
    return {
        name: Published(name=name, **{**entry, "checked": entry["checked"].isoformat()})
        for name, entry in tomllib.loads(text).items()
    }


def get_published(name: str) -> Published:
    """One published law.

    Raises:
        ScalaxError: No such name.

    Example:
        >>> get_published("hoffmann2022").coefficients["alpha"]
        0.33917084
    """
    known = published()
    if name not in known:
        raise ScalaxError(f"unknown published law {name!r}", fix=suggest(name, known))
    return known[name]
