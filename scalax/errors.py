"""The one kind of error that a person's mistake raises: where, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScalaxError(Exception):
    """A mistake in use or input, told in one line.

    Args:
        message: What was expected and what was found.
        where: The file and key, row or option at fault, such as ``"runs.csv: row 3, loss"``.
        fix: What to do or type instead.

    Attributes:
        exit_code: What the command line exits with: 2 for wrong use or bad input.
        shared: Whether every process of a job raises it alike, so that none is to blame.

    Example:
        >>> str(ScalaxError("expected a positive number, got -1", where="loss", fix="write 1.0"))
        'loss: expected a positive number, got -1 — write 1.0'
    """

    exit_code = 2
    shared = False

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.message, self.where, self.fix = message, where, fix
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text} — {fix}" if fix else text)


class JobError(ScalaxError):
    """The input was right and the job failed all the same: a full disk, a dead device."""

    exit_code = 3


def suggest(name: str, known: Iterable[str]) -> str:
    """Says which of the known names a mistyped one was meant to be.

    Args:
        name: What was written.
        known: What could have been written.

    Returns:
        ``did you mean 'x'?`` where one is near, else the list of all known names.

    Example:
        >>> suggest("chinchila", ["kaplan", "chinchilla"])
        "did you mean 'chinchilla'?"
        >>> suggest("zzz", ["kaplan", "chinchilla"])
        'known: chinchilla, kaplan'
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
