"""Reads and writes files in local folders and buckets; a write replaces a file in one step.

Until the new bytes are on disk the old file stays. `as_path` turns the address of a bucket,
gs://BUCKET/..., into a path.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from scalax.errors import JobError, ScalaxError


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file in one step and syncs it to disk.

    Raises:
        ScalaxError: The folder cannot be written.
        JobError: The disk is full; the old file is unchanged.
    """
    if on_bucket(path):
        with bucket_errors(path):
            bucket_files(path).pipe_file(str(path), data)  # a bucket replaces an object in one step
        return
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
    """Replaces a text file in one step; raises the errors of `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one step; raises the errors of `write_bytes`."""
    write_text(path, to_json(value, indent=1) + "\n")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Returns JSON text with null for numbers that are not finite, as strict readers expect.

    Example:
        >>> to_json({"loss": float("nan"), "rows": 3})
        '{"loss": null, "rows": 3}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def on_bucket(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in a bucket.

    Example:
        >>> on_bucket("gs://bucket/sweep"), on_bucket("out/sweep")
        (True, False)
    """
    return os.fspath(path).startswith("gs://")


def as_path(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a local file or of a bucket, whose address `Path` would change.

    Raises:
        ScalaxError: The address names no bucket, or gcsfs is not installed.

    Example:
        >>> as_path("out") / "sweep"
        PosixPath('out/sweep')
    """
    if not on_bucket(path):
        return Path(path)
    if not os.fspath(path).removeprefix("gs://").strip("/"):
        raise ScalaxError(
            "expected the name of a bucket", where=os.fspath(path), fix="write gs://BUCKET/FOLDER"
        )
    bucket_files(path)
    from etils import epath

    return cast(Path, epath.Path(path))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Returns the contents of a local file or of a file in a bucket.

    Raises:
        FileNotFoundError: The file does not exist.
        JobError: The bucket cannot be read.
    """
    with contextlib.ExitStack() as stack:
        if on_bucket(path):
            stack.enter_context(bucket_errors(path, missing=False))
        return as_path(path).read_bytes()


def file_version(path: str | os.PathLike[str]) -> tuple[str, int]:
    """Returns the time a file was written and its size in bytes, to detect a change.

    Raises:
        OSError: The file cannot be accessed.
    """
    if on_bucket(path):
        info = bucket_files(path).info(os.fspath(path))
        return str(info["generation"]), int(info["size"])
    stat = Path(path).stat()
    return str(stat.st_mtime_ns), stat.st_size


def remove_tree(folder: Path) -> None:
    """Removes a folder and its contents, locally or in a bucket."""
    if on_bucket(folder):
        with bucket_errors(folder):
            bucket_files(folder).rm(str(folder), recursive=True)
    else:
        shutil.rmtree(folder)


def bucket_files(path: str | os.PathLike[str]) -> Any:
    """Returns the fsspec file system of a bucket, without a cache of listings.

    Raises:
        ScalaxError: gcsfs is not installed.
    """
    if importlib.util.find_spec("gcsfs") is None:
        raise ScalaxError(
            "buckets need the package gcsfs, which is not installed",
            where=os.fspath(path),
            fix="pip install gcsfs, or use a local folder",
        )
    return _bucket_files()


@functools.cache
def _bucket_files() -> Any:
    """Creates one file system for all threads; fsspec's cache would authenticate in each."""
    import fsspec

    # gcsfs also raises the errors that it logs with a traceback; `bucket_errors` reports them.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # Other processes write to the bucket, so that no listing may be cached, not even by epath.
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
    return fsspec.filesystem("gs")


@contextlib.contextmanager
def bucket_errors(path: str | os.PathLike[str], *, missing: bool = True) -> Iterator[None]:
    """Converts errors of a bucket or of the network to a `JobError`.

    Args:
        path: The path that is read or written.
        missing: Whether to convert errors of missing files too.

    Raises:
        JobError: The bucket or the network failed; contains its message.
    """
    import aiohttp
    import google.auth.exceptions
    from gcsfs.retry import HttpError

    errors = (OSError, HttpError, aiohttp.ClientError, google.auth.exceptions.GoogleAuthError)
    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise
        raise JobError(
            "the bucket or the file does not exist",
            where=os.fspath(path),
            fix="check the bucket: gcloud storage buckets describe gs://BUCKET",
        ) from error
    except errors as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise JobError(
            f"the bucket cannot be used: {lines[0]}",
            where=os.fspath(path),
            fix="check that this account may write to it: gcloud auth application-default login",
        ) from error


def disk_error(error: OSError, path: str | os.PathLike[str]) -> ScalaxError:
    """Converts an OS error during a write to the error to report."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return JobError(
            f"the disk is full ({error.strerror})",
            where=str(path),
            fix="free some space and run the same command again; finished work is kept",
        )
    return ScalaxError(
        f"cannot write: {error.strerror or error}", where=str(path), fix="choose another folder"
    )


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens a nested dictionary; each leaf gets one dotted key.

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
