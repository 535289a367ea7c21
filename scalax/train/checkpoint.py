"""Checkpoints of one run: Orbax writes them in the background, and one damaged is passed over.

A checkpoint holds parameters, optimiser state and step; the input position follows from the step,
since a batch depends on its step alone.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from scalax.errors import JobError
from scalax.files import disk_error
from scalax.train.program import TrainState

# What Orbax's threads log as errors, with tracebacks, they also raise; it is told once, from there.
logging.getLogger("absl").setLevel(logging.CRITICAL)


class Checkpoints:
    """The checkpoints in one folder, named by step.

    Args:
        folder: Where they lie; made on the first save.
        keep: Steps never deleted; of the others, only the latest stays.
    """

    def __init__(self, folder: Path, keep: Iterable[int] = ()) -> None:
        self._folder, self._keep = folder.resolve(), frozenset(keep)
        options = ocp.CheckpointManagerOptions(
            create=False, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, step: int, *, wait: bool = False) -> None:
        """Begins to write a checkpoint; the one before is deleted once it is whole.

        Args:
            state: What to save.
            step: Steps done.
            wait: Whether to return only when it is on disk.

        Raises:
            JobError: The disk is full, or cannot be written.
        """
        with self._disk_errors():
            self._manager.wait_until_finished()
            self._prune()
            if step not in self._manager.all_steps():
                self._manager.save(step, args=ocp.args.StandardSave(_tree(state)))
            if wait:
                self._manager.wait_until_finished()

    def restore(self, abstract: TrainState, at_most: int | None = None) -> TrainState | None:
        """The latest state that can be read.

        Args:
            abstract: Shapes, dtypes and shardings to restore into.
            at_most: No step after this one; None for any.

        Returns:
            The state, or None where there is none.
        """
        for found in reversed(self.steps()):
            if at_most is not None and found > at_most:
                continue
            try:
                args = ocp.args.StandardRestore(_tree(abstract))
                tree = self._manager.restore(found, args=args)
            except Exception as error:  # whatever damage raises, an earlier one may be whole
                text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                warnings.warn(
                    f"{self._folder}: checkpoint {found} cannot be read ({text}); "
                    "going back to the one before it",
                    stacklevel=2,
                )
                self._manager.delete(found)
                continue
            return jax.tree.unflatten(jax.tree.structure(abstract), tree["leaves"])
        return None

    def close(self) -> None:
        """Waits for what is being written.

        Raises:
            JobError: As `save`.
        """
        with self._disk_errors():
            self._manager.wait_until_finished()
            self._prune()
            self._manager.close()

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

    def _prune(self) -> None:
        for step in self.steps()[:-1]:
            if step not in self._keep:
                self._manager.delete(step)


def _tree(state: TrainState) -> dict[str, list[Any]]:
    """The leaves in order: what no class of ours or of a library must exist to read again."""
    return {"leaves": jax.tree.leaves(state)}
