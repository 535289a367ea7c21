"""Writes files whole or not at all: what was there before stays until the new bytes are safe."""

from __future__ import annotations

import errno
import importlib.util
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from scalax.errors import JobError, ScalaxError


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file in one step, synced to disk.

    Raises:
        ScalaxError: The folder cannot be written.
        JobError: The disk is full; what the file held before is untouched.
    """
    handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, handle = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(handle).chmod(0o644)
        Path(handle).replace(path)
    except OSError as error:
        if handle is not None:
            Path(handle).unlink(missing_ok=True)
        raise disk_error(error, path) from error


def write_text(path: Path, text: str) -> None:
    """Replaces a text file in one step; errors as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one step; errors as `write_bytes`."""
    write_text(path, to_json(value, indent=1) + "\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text in which what is not a finite number is null, as strict readers expect.

    Example:
        >>> to_json({"loss": float("nan"), "rows": 3})
        '{"loss": null, "rows": 3}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def on_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path is of an object store rather than of this machine.

    Example:
        >>> on_bucket("gs://bucket/sweep"), on_bucket("out/sweep")
        (True, False)
    """
    return os.fspath(path).startswith("gs://")


def bucket_files(path: str | os.PathLike[str]) -> Any:
    """The file system of a bucket, in fsspec's terms; it caches no listing.

    Raises:
        ScalaxError: The package for it is not installed; says what to type.
    """
    if importlib.util.find_spec("gcsfs") is None:
        raise ScalaxError(
            "gs:// needs the package gcsfs, which is not installed",
            where=os.fspath(path),
            fix="pip install gcsfs, or give a folder",
        )
    import fsspec

    return fsspec.filesystem("gs", use_listings_cache=False)


def disk_error(error: OSError, path: str | os.PathLike[str]) -> ScalaxError:
    """The error to show for one the system gave while writing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return JobError(
            f"the disk is full ({error.strerror})",
            where=str(path),
            fix="free some space and start the same command again: finished work is kept",
        )
    return ScalaxError(
        f"cannot write: {error.strerror or error}", where=str(path), fix="give another folder"
    )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary with one dotted key a leaf.

    Example:
        >>> flatten({"a": {"b": 1}, "c": 2})
        {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
