"""Caches compiled steps on disk, so that a second start compiles nothing."""

from __future__ import annotations

import os
from pathlib import Path

from scalax.files import bucket_files, disk_error, on_bucket
from scalax.folders import cache_folder

SHORTEST_SECONDS = 0.1
"""Steps that compile faster are not cached: reading them back would take as long."""


def set_compile_cache(path: str | None) -> None:
    """Sets the folder of JAX's compilation cache.

    Args:
        path: A folder or gs:// address; by default ``JAX_COMPILATION_CACHE_DIR``, or a folder in
            scalax's own cache.

    Raises:
        ScalaxError: The folder cannot be created, or gs:// is not accessible.
    """
    import jax

    if path is None and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    location = str(cache_folder() / "compiled") if path is None else path
    if on_bucket(location):
        bucket_files(location)
    else:
        folder = Path(location).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        location = str(folder.resolve())
    jax.config.update("jax_compilation_cache_dir", location)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
