"""From a source to batches: shuffled, deterministic in the seed, resumable at any step.

A batch depends on its step alone: example s * batch + k of an endless sequence in which each
epoch is a new permutation. Which host reads which part changes nothing in it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

import numpy as np

from scalax.data.base import Example, Source
from scalax.errors import ScalaxError

_EVAL_SEED = 0
Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes the next batches in a thread of its own, in order, while the last one is trained on.

    Args:
        batches: Where they come from; read in the thread.
        make: Done to each in the thread, such as starting its transfer to the devices.
        count: How many will be asked for; no more are read.
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


def train_batches(
    source: Source, *, batch: int, seed: int, start: int, hosts: int = 1, host: int = 0
) -> Iterator[Example]:
    """Endless training batches.

    Args:
        source: The training examples.
        batch: Examples in a batch over all hosts.
        seed: Of the shuffling, below 2**32.
        start: The step of the first batch to give.
        hosts: How many hosts read.
        host: Which of them this is.

    Yields:
        This host's part of each batch: features [batch / hosts, ...] and ``mask``, all ones.

    Raises:
        ScalaxError: The batch does not divide among the hosts.
    """
    import grain

    if batch % hosts:
        raise ScalaxError(
            f"a batch of {batch} does not divide among {hosts} hosts",
            where="train.batch",
            fix=f"give a multiple of {hosts}",
        )
    endless = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None)
    mine = batch // hosts
    # Host h takes rows [h * mine, (h + 1) * mine) of each batch.
    for step in range(start, 2**62):
        first = step * batch + host * mine
        yield _stack([endless[first + k] for k in range(mine)], mine)


def eval_batches(
    source: Source, *, batch: int, examples: int, hosts: int = 1, host: int = 0
) -> Iterator[Example]:
    """A fixed set of held-out examples, the same for every run and seed.

    Args:
        source: The held-out examples.
        batch: Examples in a batch over all hosts.
        examples: How many to give; all of them where there are fewer.
        hosts: How many hosts read.
        host: Which of them this is.

    Yields:
        As `train_batches`; the last batch is filled up with examples of mask 0.
    """
    import grain

    fixed = grain.MapDataset.source(source).seed(_EVAL_SEED).shuffle()
    count = min(examples, len(source))
    mine = batch // hosts
    for first in range(0, count, batch):
        start = first + host * mine
        rows = [fixed[min(start + k, count - 1)] for k in range(mine)]
        yield _stack(rows, max(0, min(mine, count - start)))


def _stack(rows: list[Any], real: int) -> Example:
    stacked = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return {**stacked, "mask": (np.arange(len(rows)) < real).astype(np.float32)}
