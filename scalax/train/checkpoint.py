"""Checkpoints of one run: Orbax writes them in the background, and one damaged is passed over.

A checkpoint holds every array of the training state; beside them checkpoint.json says what they
are, where the input stood and the sum of every file. That file is written last, so that without it
a checkpoint is not whole; with it, flipped bytes are found, which Orbax restores silently.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

from scalax.distributed.hosts import Hosts
from scalax.errors import JobError
from scalax.files import bucket_files, disk_error, on_bucket, write_json

# What Orbax's threads log as errors, with tracebacks, they also raise; it is told once, from there.
logging.getLogger("absl").setLevel(logging.CRITICAL)

ABOUT = "checkpoint.json"

Tree = TypeVar("Tree")
"""A tree of arrays, such as `scalax.train.program.TrainState`."""

_writing = threading.Lock()
"""Held while Orbax writes a checkpoint: its parts find each other by a number that a second one,
begun meanwhile by another thread, would change."""


class Checkpoints:
    """The checkpoints in one folder, named by step.

    Args:
        folder: Where they lie; made on the first save.
        keep: Steps never deleted.
        latest: How many of the others stay: with two there is one to go back to.
        hosts: The processes that write them together; the first seals and verifies.
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
        self._sealing: Future[None] | None = None

    def steps(self) -> list[int]:
        """Steps of the checkpoints there, whole or damaged, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: Any, step: int, about: dict[str, Any], *, wait: bool = False) -> None:
        """Begins to write a checkpoint, once the one before is on disk; then deletes older ones.

        Args:
            state: What to save.
            step: Steps done.
            about: What else to go on from, such as the position of the input, as JSON values.
            wait: Whether to return only when it is on disk.

        Raises:
            JobError: The disk is full, or cannot be written.
        """
        with self._disk_errors():
            self._settle()
            if step not in self._manager.all_steps():
                self._write(state, step, {"step": step, **about})
            if wait:
                self._settle()

    def restore(self, abstract: Tree, at_most: int | None = None) -> Tree | None:
        """The latest state that is whole.

        Those that are damaged, or later than asked for, are deleted: they are trained again.

        Args:
            abstract: Shapes, dtypes and shardings to restore into, on any mesh.
            at_most: No step after this one; None for any.

        Returns:
            The state, or None where there is none.

        Raises:
            JobError: One under way cannot be written.
        """
        with self._disk_errors():
            self._settle()
        for found in reversed(self.steps()):
            if at_most is None or found <= at_most:
                state = self._read(found, abstract)
                if state is not None:
                    return state
            self._manager.delete(found)
        return None

    def close(self) -> None:
        """Waits for what is being written.

        Raises:
            JobError: As `save`.
        """
        try:
            with self._disk_errors():
                self._settle()
        finally:
            self._pool.shutdown()
            self._manager.close()

    def _settle(self) -> None:
        """Waits until the checkpoint under way is whole; only then deletes those not kept."""
        if self._sealing is None:
            return
        sealing, self._sealing = self._sealing, None
        sealing.result()
        for step in [s for s in self.steps() if s not in self._keep][: -self._latest]:
            self._manager.delete(step)

    def _write(self, state: Any, step: int, about: dict[str, Any]) -> None:
        _writing.acquire()  # until `_seal` sees it on disk, in a thread of its own
        try:
            self._manager.save(step, args=ocp.args.StandardSave(_tree(state)))
            self._sealing = self._pool.submit(self._seal, step, about)
        except BaseException:
            _writing.release()
            raise

    def _seal(self, step: int, about: dict[str, Any]) -> None:
        """Writes checkpoint.json when all files of a checkpoint are on disk."""
        try:
            self._manager.wait_until_finished()
        finally:
            _writing.release()
        if self._hosts.first:
            folder = self._folder / str(step)
            write_json(folder / ABOUT, {**about, "files": _sums(folder)})

    def _read(self, step: int, abstract: Tree) -> Tree | None:
        wrong = self._hosts.on_first(lambda: _damage(self._folder / str(step)))
        if wrong is None:
            try:
                args = ocp.args.StandardRestore(_tree(abstract))
                leaves = self._manager.restore(step, args=args)["leaves"]
            except Exception as error:  # whatever damage raises, an earlier one may be whole
                told = str(error).splitlines()
                wrong = f"{type(error).__name__}: {told[0] if told else ''}"
            wrong = self._hosts.first_problem(wrong)  # all go back, or none
            if wrong is None:
                state: Tree = jax.tree.unflatten(jax.tree.structure(abstract), leaves)
                return state
        if self._hosts.first:
            warnings.warn(
                f"{self._folder}: checkpoint {step} cannot be used ({wrong}); "
                "going back to the one before it",
                stacklevel=3,
            )
        return None

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_error(error, self._folder) from error
        except ValueError as error:  # how TensorStore words what the disk refused
            full = "No space left" in str(error) or "os_error_code='28'" in str(error)
            raise JobError(
                "the disk is full" if full else f"cannot be written: {str(error).splitlines()[0]}",
                where=str(self._folder),
                fix="free some space and start the same command again: finished work is kept",
            ) from error


def _damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint; None where each is as it was written."""
    try:
        files = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "it was not finished"
    except (ValueError, KeyError, TypeError):
        return f"{ABOUT} is damaged"
    there = _sums(folder)
    if there == files:
        return None
    changed = sorted(n for n in files.keys() | there.keys() if files.get(n) != there.get(n))
    return f"{changed[0]} is not as it was written"


def _sums(folder: Path) -> dict[str, str]:
    """The sum of every file but our own, by its path in the checkpoint.

    SHA-256 on a disk. A bucket keeps a CRC-32C beside each object and tells it with the listing:
    nothing is read back.
    """
    if on_bucket(folder):
        root = f"{folder}/".removeprefix("gs://")
        there = bucket_files(folder).find(str(folder), detail=True).items()
        return {n.removeprefix(root): o["crc32c"] for n, o in there if n != f"{root}{ABOUT}"}
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ABOUT:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = digest
    return found


def _tree(state: Any) -> dict[str, list[Any]]:
    """The leaves in order: what no class of ours or of a library must exist to read again."""
    return {"leaves": jax.tree.leaves(state)}
