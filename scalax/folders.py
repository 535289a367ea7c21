"""Where scalax keeps what it can make again: packed data, compiled programs, measured constants."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$SCALAX_CACHE``, or scalax's folder in the user's cache."""
    if own := os.environ.get("SCALAX_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scalax"
