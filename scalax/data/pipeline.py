"""Turns a source into batches: shuffled, deterministic in the seed, resumable at any step.

A batch depends only on the seed and its step: row k of step s is example s * batch + k of an
endless sequence in which each epoch is a new permutation. How hosts share the rows does not change
a batch.
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
Prepared = TypeVar("Prepared")


class Prefetcher(Generic[Prepared]):
    """Reads and prepares the next batches in a background thread; iterates over them in order.

    Args:
        batches: The batches to read.
        prepare: Applied to each batch in the thread, for example to start its transfer to devices.
        count: Number of batches to read.
        depth: Maximum number of batches that are prepared in advance.

    Raises:
        Exception: While iterating, any error of reading or preparing that batch.
    """

    def __init__(
        self,
        batches: Iterator[Example],
        prepare: Callable[[Example], Prepared],
        count: int,
        depth: int = 2,
    ) -> None:
        self._batches = itertools.islice(batches, count)
        self._prepare, self._remaining = prepare, count
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="input")
        self._pending: deque[Future[Prepared]] = deque()
        for _ in range(depth):
            self._submit()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Prepared:
        if not self._pending:
            raise StopIteration
        batch = self._pending.popleft().result()
        self._submit()
        return batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        if self._remaining:
            self._remaining -= 1
            self._pending.append(self._pool.submit(lambda: self._prepare(next(self._batches))))


def import_reader() -> None:
    """Starts importing grain in a background thread, to overlap with the first compilation."""
    Thread(target=importlib.import_module, args=("grain",), name="import", daemon=True).start()


def train_batches(
    source: Source,
    *,
    batch: int,
    seed: int,
    start: int,
    rows: Sequence[int] | np.ndarray | None = None,
) -> Iterator[Example]:
    """Yields training batches without end.

    Args:
        source: The training examples.
        batch: Examples in a batch over all hosts.
        seed: Seed of the shuffling, below 2**32.
        start: Step of the first batch.
        rows: Indices of the rows to read, those of this host's devices; None for all.

    Yields:
        These rows of each batch: features [rows, ...] and ``mask`` [rows], all ones.
    """
    import grain

    # Grain shuffles indices, not examples: its overhead per element exceeds the cost of a read.
    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat(None)
    own_rows = [int(row) for row in (range(batch) if rows is None else rows)]
    ones = np.ones(len(own_rows), np.float32)
    for step in range(start, 2**62):
        yield {**_stack([source[order[step * batch + row]] for row in own_rows]), "mask": ones}


def eval_batches(
    source: Source, *, batch: int, examples: int, rows: Sequence[int] | np.ndarray | None = None
) -> Iterator[Example]:
    """Yields a fixed sample of held-out examples, the same for every run and seed.

    Args:
        source: The held-out examples.
        batch: Examples in a batch over all hosts.
        examples: Maximum number of examples.
        rows: Indices of the rows to read; None for all.

    Yields:
        Batches as from `train_batches`; the last one is padded with examples of mask 0.
    """
    import grain

    fixed = grain.MapDataset.source(source).seed(_EVAL_SEED).shuffle()
    count = min(examples, len(source))
    own_rows = np.arange(batch) if rows is None else np.asarray(rows)
    for first in range(0, count, batch):
        indices = first + own_rows
        features = _stack([fixed[int(k)] for k in np.minimum(indices, count - 1)])
        yield {**features, "mask": (indices < count).astype(np.float32)}


def _stack(rows: list[Any]) -> Example:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
