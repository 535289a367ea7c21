"""Writes files whole or not at all: what was there before stays until the new bytes are safe.

A path may be of a bucket, gs://BUCKET/..., which `as_path` makes of an address.
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
    """Replaces a file in one step, synced to disk.

    Raises:
        ScalaxError: The folder cannot be written.
        JobError: The disk is full; what the file held before is untouched.
    """
    if on_bucket(path):
        with bucket_errors(path):
            bucket_files(path).pipe_file(str(path), data)  # an object is whole or not there
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


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path of this machine or of a bucket; `Path` itself would spoil the address of one.

    Raises:
        ScalaxError: It names no bucket; or as `bucket_files`.

    Example:
        >>> as_path("out") / "sweep"
        PosixPath('out/sweep')
    """
    if not on_bucket(path):
        return Path(path)
    if not os.fspath(path).removeprefix("gs://").strip("/"):
        raise ScalaxError(
            "expected a bucket", where=os.fspath(path), fix="write gs://BUCKET/FOLDER"
        )
    bucket_files(path)
    from etils import epath

    return cast(Path, epath.Path(path))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What a file holds, also in a bucket.

    Raises:
        FileNotFoundError: It is not there.
        JobError: The bucket cannot be used.
    """
    with contextlib.ExitStack() as refused:
        if on_bucket(path):
            refused.enter_context(bucket_errors(path, missing=False))
        return as_path(path).read_bytes()


def file_version(path: str | os.PathLike[str]) -> tuple[str, int]:
    """When a file was written, and its size in bytes: they tell whether it changed.

    Raises:
        OSError: It cannot be looked at.
    """
    if on_bucket(path):
        found = bucket_files(path).info(os.fspath(path))
        return str(found["generation"]), int(found["size"])
    stat = Path(path).stat()
    return str(stat.st_mtime_ns), stat.st_size


def remove_tree(folder: Path) -> None:
    """Removes a folder and all in it, also from a bucket."""
    if on_bucket(folder):
        with bucket_errors(folder):
            bucket_files(folder).rm(str(folder), recursive=True)
    else:
        shutil.rmtree(folder)


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
    return _bucket_files()


@functools.cache
def _bucket_files() -> Any:
    """One for all threads: fsspec's own cache would sign in anew for each."""
    import fsspec

    # What it logs with a traceback it also raises, and `bucket_errors` tells.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # Other processes write there too, so that no listing may be old: neither ours nor epath's.
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
    return fsspec.filesystem("gs")


@contextlib.contextmanager
def bucket_errors(path: str | os.PathLike[str], *, missing: bool = True) -> Iterator[None]:
    """Turns what a bucket refuses, or a network, into an error to show.

    Args:
        path: What was asked of it.
        missing: Whether a missing file is such an error too.

    Raises:
        JobError: Says what the bucket said.
    """
    import aiohttp
    import google.auth.exceptions
    from gcsfs.retry import HttpError

    refusals = (OSError, HttpError, aiohttp.ClientError, google.auth.exceptions.GoogleAuthError)
    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise
        raise JobError(
            "no such bucket, or nothing there",
            where=os.fspath(path),
            fix="see that the bucket exists: gcloud storage buckets describe gs://BUCKET",
        ) from error
    except refusals as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise JobError(
            f"the bucket cannot be used: {told[0]}",
            where=os.fspath(path),
            fix="see that this account may write there: gcloud auth application-default login",
        ) from error


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
