"""Checkpoints of a job, written by Orbax in the background. Damaged checkpoints are skipped.

A checkpoint holds every array of the training state. checkpoint.json beside the arrays records the
position in the data and a checksum of every file. It is written last: a checkpoint without it is
incomplete. The checksums detect flipped bytes, which Orbax would restore without an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from scalax.distributed.hosts import Hosts
from scalax.errors import JobError
from scalax.files import bucket_files, disk_error, on_bucket, write_json

# Orbax's threads log errors with tracebacks and also raise them; they are reported once, when
# raised.
logging.getLogger("absl").setLevel(logging.CRITICAL)

INFO_FILE = "checkpoint.json"

Tree = TypeVar("Tree")
"""A tree of arrays, such as `scalax.train.step.TrainState`."""

_orbax_write = threading.Lock()
"""Held while Orbax writes a checkpoint. Its files are matched by a global counter, which a second
checkpoint started by another thread in the meantime would change."""


class Checkpoints:
    """The checkpoints in one folder, named by step.

    Args:
        folder: Folder of the checkpoints; created if it does not exist.
        keep: Steps whose checkpoints are never deleted.
        latest: Number of other checkpoints to keep. With two, one damaged checkpoint costs little.
        hosts: The processes that write the checkpoints together. Process 0 writes and verifies the
            checksums.
    """

    def __init__(
        self,
        folder: Path,
        keep: Iterable[int] = (),
        latest: int = 2,
        hosts: Hosts | None = None,
    ) -> None:
        self._folder = folder if on_bucket(folder) else folder.resolve()
        self._keep, self._latest = frozenset(keep), latest
        self._hosts = hosts or Hosts()
        options = ocp.CheckpointManagerOptions(
            create=False, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._completion: Future[None] | None = None

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, complete or damaged, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: Any, step: int, info: Mapping[str, Any], *, wait: bool = False) -> None:
        """Starts to write a checkpoint after the previous one is complete, then deletes old ones.

        Args:
            state: Tree of arrays to save.
            step: Steps completed.
            info: JSON values to record in checkpoint.json, such as the position in the data.
            wait: Whether to return only when the checkpoint is complete.

        Raises:
            JobError: The disk is full or not writable.
        """
        with self._translate_errors():
            self._wait()
            if step not in self._manager.all_steps():
                self._write(state, step, {"step": step, **info})
            if wait:
                self._wait()

    def restore(self, abstract: Tree, at_most: int | None = None) -> Tree | None:
        """Restores the latest complete checkpoint.

        Checkpoints that are damaged, or later than ``at_most``, are deleted: their steps are
        trained again.

        Args:
            abstract: Shapes, dtypes and shardings to restore into, on any mesh.
            at_most: Latest step to restore; None for any.

        Returns:
            The state, or None if there is no checkpoint.

        Raises:
            JobError: The checkpoint in progress could not be written.
        """
        with self._translate_errors():
            self._wait()
        for step in reversed(self.steps()):
            if at_most is None or step <= at_most:
                state = self._read(step, abstract)
                if state is not None:
                    return state
            self._manager.delete(step)
        return None

    def close(self) -> None:
        """Waits for the checkpoint in progress.

        Raises:
            JobError: As `save`.
        """
        try:
            with self._translate_errors():
                self._wait()
        finally:
            self._pool.shutdown()
            self._manager.close()

    def _wait(self) -> None:
        """Waits until the checkpoint in progress is complete, then deletes those not kept."""
        if self._completion is None:
            return
        completion, self._completion = self._completion, None
        completion.result()
        for step in [s for s in self.steps() if s not in self._keep][: -self._latest]:
            self._manager.delete(step)

    def _write(self, state: Any, step: int, info: dict[str, Any]) -> None:
        _orbax_write.acquire()  # released by `_complete`, in another thread
        try:
            self._manager.save(step, args=ocp.args.StandardSave(_to_saved(state)))
            self._completion = self._pool.submit(self._complete, step, info)
        except BaseException:
            _orbax_write.release()
            raise

    def _complete(self, step: int, info: dict[str, Any]) -> None:
        """Writes checkpoint.json after all files of a checkpoint are on disk."""
        try:
            self._manager.wait_until_finished()
        finally:
            _orbax_write.release()
        if self._hosts.first:
            folder = self._folder / str(step)
            write_json(folder / INFO_FILE, {**info, "files": _checksums(folder)})

    def _read(self, step: int, abstract: Tree) -> Tree | None:
        problem = self._hosts.on_first(lambda: _find_damage(self._folder / str(step)))
        if problem is None:
            try:
                args = ocp.args.StandardRestore(_to_saved(abstract))
                leaves = self._manager.restore(step, args=args)["leaves"]
            except Exception as error:  # damage raises many types; an earlier one may be complete
                lines = str(error).splitlines()
                problem = f"{type(error).__name__}: {lines[0] if lines else ''}"
            problem = self._hosts.first_problem(problem)  # all processes restore the same step
            if problem is None:
                state: Tree = jax.tree.unflatten(jax.tree.structure(abstract), leaves)
                return state
        if self._hosts.first:
            warnings.warn(
                f"{self._folder}: checkpoint {step} cannot be used ({problem}); "
                "restoring the one before it",
                stacklevel=3,
            )
        return None

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turns errors of the file system into a `JobError`."""
        try:
            yield
        except OSError as error:
            raise disk_error(error, self._folder) from error
        except ValueError as error:  # TensorStore raises this type for errors of the file system
            full = "No space left" in str(error) or "os_error_code='28'" in str(error)
            raise JobError(
                "the disk is full" if full else f"cannot be written: {str(error).splitlines()[0]}",
                where=str(self._folder),
                fix="free some space and start the same command again: finished work is kept",
            ) from error


def _find_damage(folder: Path) -> str | None:
    """Returns what is wrong with the files of a checkpoint; None if they are intact."""
    try:
        recorded = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "it was not finished"
    except (ValueError, KeyError, TypeError):
        return f"{INFO_FILE} is damaged"
    actual = _checksums(folder)
    if actual == recorded:
        return None
    names = recorded.keys() | actual.keys()
    changed = sorted(name for name in names if recorded.get(name) != actual.get(name))
    return f"{changed[0]} is not as it was written"


def _checksums(folder: Path) -> dict[str, str]:
    """Returns the checksum of every file but checkpoint.json, by its path in the checkpoint.

    SHA-256 on a local disk. A bucket lists the CRC-32C of each object, so nothing is downloaded.
    """
    if on_bucket(folder):
        root = f"{folder}/".removeprefix("gs://")
        objects = bucket_files(folder).find(str(folder), detail=True).items()
        return {n.removeprefix(root): o["crc32c"] for n, o in objects if n != f"{root}{INFO_FILE}"}
    checksums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != INFO_FILE:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            checksums[path.relative_to(folder).as_posix()] = digest
    return checksums


def _to_saved(state: Any) -> dict[str, list[Any]]:
    """Returns the leaves in order, so that a checkpoint refers to no class of any library."""
    return {"leaves": jax.tree.leaves(state)}
