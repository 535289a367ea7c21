"""Keeps compiled steps between processes, so that a second start need not compile again."""

from __future__ import annotations

import os
from pathlib import Path

from scalax.files import bucket_files, disk_error, on_bucket
from scalax.folders import cache_folder

SHORTEST_SECONDS = 0.1
"""Steps that compile faster are not kept: reading them back would take as long."""


def keep_compiled(place: str | None) -> None:
    """Tells jax where compiled steps are kept.

    Args:
        place: A folder or gs:// address; by default what ``JAX_COMPILATION_CACHE_DIR`` says, or
            a folder in scalax's own cache.

    Raises:
        ScalaxError: The folder cannot be made, or gs:// cannot be read from here.
    """
    import jax

    if place is None and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    where = str(cache_folder() / "compiled") if place is None else place
    if on_bucket(where):
        bucket_files(where)
    else:
        folder = Path(where).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        where = str(folder.resolve())
    jax.config.update("jax_compilation_cache_dir", where)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
