"""What a check found: a line for each demand, passed or failed, with what was seen."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError


class NotMetError(Exception):
    """A demand is not met; the text says what was found."""


@dataclass(frozen=True)
class Line:
    """One demand.

    Attributes:
        demand: The requirement.
        passed: Whether the plugin meets it.
        detail: The observation, or the reason of the failure.
    """

    demand: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """The results of all checks of one plugin.

    Attributes:
        kind: law, model or dataset; file where none could be read.
        name: What a user writes.
        origin: Where it comes from.
        lines: In order; those that an earlier failure made impossible are left out.
    """

    kind: str
    name: str
    origin: str
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether every line is."""
        return all(line.passed for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "origin": self.origin,
            "passed": self.passed,
            "lines": [vars(line) for line in self.lines],
        }


class Checklist:
    """Collects the lines of a report."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def check(self, demand: str, test: Callable[[], str]) -> bool:
        """Adds a line.

        Args:
            demand: The requirement.
            test: Returns the observation; raises any exception if the requirement is not met.

        Returns:
            Whether it passed.
        """
        try:
            line = Line(demand, True, test())
        except (NotMetError, ScalaxError) as error:
            line = Line(demand, False, str(error))
        except Exception as error:
            line = Line(demand, False, _place(error))
        self.lines.append(line)
        return line.passed


def _place(error: Exception) -> str:
    """An unexpected exception in one line, with the innermost place outside scalax and jax."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not any(f"/{p}/" in f.filename for p in ("scalax", "jax"))]
    frame = (theirs or list(frames))[-1]
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0]} ({frame.filename}, line {frame.lineno})"
