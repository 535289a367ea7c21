"""The errors that scalax reports to a user: where the problem is, what it is and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScalaxError(Exception):
    """Reports wrong use or bad input in one line.

    The line reads ``where: problem. Fix: what to do``.

    Args:
        message: The problem: what was expected and what was given.
        where: The file and key, row or option that is wrong, such as ``"runs.csv: row 3, loss"``.
        fix: What to do or type instead. A question (see `suggest`) follows the problem directly.

    Attributes:
        exit_code: Exit code of the command line: 2 for wrong use or bad input.
        shared: Whether every process of a job raises this error, so that no process is at fault.

    Example:
        >>> str(ScalaxError("expected a positive number, got -1", where="loss", fix="write 1.0"))
        'loss: expected a positive number, got -1. Fix: write 1.0'
        >>> str(ScalaxError("unknown law 'kaplam'", fix="did you mean 'kaplan'?"))
        "unknown law 'kaplam'; did you mean 'kaplan'?"
    """

    exit_code = 2
    shared = False

    def __init__(self, message: str, *, where: str | None = None, fix: str | None = None) -> None:
        self.message, self.where, self.fix = message, where, fix
        text = f"{where}: {message}" if where else message
        if fix:
            text += f"; {fix}" if fix.startswith("did you mean") else f". Fix: {fix}"
        super().__init__(text)


class JobError(ScalaxError):
    """Reports that a job with correct input failed, such as by a full disk or a dead device."""

    exit_code = 3


def suggest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Returns the fix for a mistyped name: the closest known name, or all of them.

    Args:
        name: The name that the user wrote.
        known: The valid names.
        otherwise: What else the user may do, such as ``"map a column with --columns"``.

    Example:
        >>> suggest("chinchila", ["kaplan", "chinchilla"])
        "did you mean 'chinchilla'?"
        >>> suggest("chinchila", ["chinchilla"], otherwise="register your own")
        "did you mean 'chinchilla'? Otherwise register your own"
        >>> suggest("zzz", ["kaplan", "chinchilla"])
        'write one of chinchilla, kaplan'
        >>> suggest("zzz", [])
        'none is known'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?" + (f" Otherwise {otherwise}" if otherwise else "")
    listed = f"write one of {', '.join(names)}" if names else "none is known"
    return listed + (f", or {otherwise}" if otherwise else "")
