"""Names the plugin whose code raised an unexpected exception."""

from __future__ import annotations

import traceback

from scalax.errors import JobError
from scalax.registry.entry import LOADED, summary


def blame(error: BaseException) -> JobError | None:
    """Finds the plugin in whose code an exception was raised.

    Args:
        error: An unexpected exception with its traceback.

    Returns:
        An error of one line with the plugin, the cause, and the file and line in the plugin; None
        if no frame of the traceback is in a plugin, so that the fault is in scalax.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        candidates = {t: e for t, e in LOADED.items() if t.__module__.partition(".")[0] == package}
        if candidates:
            # A package may have several plugins: the method's own object says which one failed.
            entry = candidates.get(type(frame.f_locals.get("self")))
            first = next(iter(candidates.values()))
            if entry is None and len(candidates) == 1:
                entry = first
            code = frame.f_code
            return JobError(
                f"failed in {code.co_name} ({summary(error)}; {code.co_filename}, line {line})",
                where=entry.where if entry else f"plugin {first.origin}",
                fix="run scalax plugins check for other faults",
            )
    return None
