"""Results of a check: one line for each requirement, passed or failed, with the observation."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError


class CheckFailedError(Exception):
    """Reports that a plugin does not meet a requirement.

    Args:
        message: What was expected and what was found.
        fix: What the plugin's author should change.
    """

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(f"{message}. Fix: {fix}")


@dataclass(frozen=True)
class Line:
    """The result for one requirement.

    Attributes:
        demand: The requirement.
        passed: Whether the plugin meets it.
        detail: The observation, or the reason of the failure and how to fix it.
    """

    demand: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """The results of all checks of one plugin.

    Attributes:
        kind: law, model or dataset; ``file`` for a file that could not be loaded.
        name: The name that a user writes.
        origin: The distribution or file that registers the plugin.
        lines: The results in order. Checks that an earlier failure rules out are omitted.
    """

    kind: str
    name: str
    origin: str
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether every line passed."""
        return all(line.passed for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
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
        """Runs a test and adds its line.

        Args:
            demand: The requirement.
            test: Returns the observation; raises any exception if the requirement is not met.

        Returns:
            Whether it passed.
        """
        try:
            line = Line(demand, True, test())
        except (CheckFailedError, ScalaxError) as error:
            line = Line(demand, False, str(error))
        except Exception as error:
            line = Line(demand, False, _with_location(error))
        self.lines.append(line)
        return line.passed


def _with_location(error: Exception) -> str:
    """Returns an exception as one line with the innermost location outside scalax and jax."""
    frames = traceback.extract_tb(error.__traceback__)
    plugin = [f for f in frames if not any(f"/{p}/" in f.filename for p in ("scalax", "jax"))]
    frame = (plugin or list(frames))[-1]
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0]} ({frame.filename}, line {frame.lineno})"
