"""Finds the cache folder: packed data, compiled programs and the calibration of this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns ``$SCALAX_CACHE``, or the folder ``scalax`` in the user's cache."""
    if own := os.environ.get("SCALAX_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scalax"
