"""From a source to batches: shuffled, deterministic in the seed, resumable at any step.

A batch depends on its step alone: example s * batch + k of an endless sequence in which each
epoch is a new permutation. Which host reads which part changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from scalax.data.base import Example, Source
from scalax.errors import ScalaxError

_EVAL_SEED = 0


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
