"""From a source to batches: shuffled, deterministic in the seed, resumable at any step.

A batch depends on its step alone: example s * batch + k of an endless sequence in which each
epoch is a new permutation. Which host reads which part changes nothing in it.
"""

from __future__ import annotations

import importlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any, Generic, Self, TypeVar

import numpy as np

from scalax.data.base import Example, Source

_EVAL_SEED = 0
Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes the next batches in a thread of its own, in order, while the last one is trained on.

    Args:
        batches: Where they come from; read in the thread.
        make: Done to each in the thread, such as starting its transfer to the devices.
        count: Number of batches; no more are read.
        depth: Most batches made and not yet taken.

    Raises:
        Exception: From the iteration, whatever reading or making that batch raised.
    """

    def __init__(
        self,
        batches: Iterator[Example],
        make: Callable[[Example], Made],
        count: int,
        depth: int = 2,
    ) -> None:
        self._batches = itertools.islice(batches, count)
        self._make, self._left = make, count
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="input")
        self._coming: deque[Future[Made]] = deque()
        for _ in range(depth):
            self._ask()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Made:
        if not self._coming:
            raise StopIteration
        batch = self._coming.popleft().result()
        self._ask()
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self) -> None:
        if self._left:
            self._left -= 1
            self._coming.append(self._pool.submit(lambda: self._make(next(self._batches))))


def load_ahead() -> None:
    """Begins to import what reads batches, in a thread, while the first step is compiled."""
    Thread(target=importlib.import_module, args=("grain",), name="load", daemon=True).start()


def train_batches(
    source: Source,
    *,
    batch: int,
    seed: int,
    start: int,
    rows: Sequence[int] | np.ndarray | None = None,
) -> Iterator[Example]:
    """Endless training batches.

    Args:
        source: The training examples.
        batch: Examples in a batch over all hosts.
        seed: Of the shuffling, below 2**32.
        start: The step of the first batch to give.
        rows: Which rows of each batch to read, as this host's devices need them; None for all.

    Yields:
        Those rows of each batch: features [rows, ...] and ``mask``, all ones.
    """
    import grain

    # Of numbers, not of examples: what grain does around each element costs more than a window.
    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat(None)
    mine = [int(row) for row in (range(batch) if rows is None else rows)]
    ones = np.ones(len(mine), np.float32)
    for step in range(start, 2**62):
        yield {**_stack([source[order[step * batch + row]] for row in mine]), "mask": ones}


def eval_batches(
    source: Source, *, batch: int, examples: int, rows: Sequence[int] | np.ndarray | None = None
) -> Iterator[Example]:
    """A fixed set of held-out examples, the same for every run and seed.

    Args:
        source: The held-out examples.
        batch: Examples in a batch over all hosts.
        examples: How many to give; all of them where there are fewer.
        rows: Which rows of each batch to read; None for all.

    Yields:
        As `train_batches`; the last batch is filled up with examples of mask 0.
    """
    import grain

    fixed = grain.MapDataset.source(source).seed(_EVAL_SEED).shuffle()
    count = min(examples, len(source))
    mine = np.arange(batch) if rows is None else np.asarray(rows)
    for first in range(0, count, batch):
        wanted = first + mine
        read = _stack([fixed[int(k)] for k in np.minimum(wanted, count - 1)])
        yield {**read, "mask": (wanted < count).astype(np.float32)}


def _stack(rows: list[Any]) -> Example:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
