"""Batches: each example once an epoch, the same for a seed, from any step, over any hosts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from scalax.data.pipeline import Prefetcher, eval_batches, train_batches


class Numbers:
    """Thirty examples that say their own index."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"n": np.asarray(index)}


def take(count: int, **options: Any) -> list[list[int]]:
    settings: dict[str, Any] = {"batch": 6, "seed": 0, "start": 0} | options
    batches = train_batches(Numbers(), **settings)
    return [b["n"].tolist() for b in itertools.islice(batches, count)]


def flat(rows: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(rows))


def test_an_epoch_has_each_example_once_and_the_next_another_order() -> None:
    first, second = take(10)[:5], take(10)[5:]
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(30))
    assert first != second


def test_a_seed_fixes_the_order() -> None:
    assert take(5, seed=3) == take(5, seed=3) != take(5, seed=4)


@pytest.mark.parametrize("start", [1, 4, 7])
def test_any_step_can_be_resumed(start: int) -> None:
    assert take(10)[start:] == take(10 - start, start=start)


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_hosts_share_the_same_batches(hosts: int) -> None:
    # Host h takes every hosts-th row, as an interleaved device order would have it.
    whole = take(7)
    for host in range(hosts):
        rows = range(host, 6, hosts)
        assert take(7, rows=rows) == [[batch[k] for k in rows] for batch in whole]


@pytest.mark.parametrize("hosts", [1, 2])
def test_held_out_examples_are_each_scored_once(hosts: int) -> None:
    seen: list[int] = []
    for host in range(hosts):
        rows = range(host, 8, hosts)
        for batch in eval_batches(Numbers(), batch=8, examples=99, rows=rows):
            assert len(batch["n"]) == 8 // hosts
            seen += batch["n"][batch["mask"] > 0].tolist()
    assert sorted(seen) == list(range(30))


def test_ahead_gives_the_same_batches_and_reads_no_more_than_asked() -> None:
    read: list[int] = []

    def numbers() -> Iterator[dict[str, np.ndarray]]:
        for k in itertools.count():
            read.append(k)
            yield {"n": np.asarray(k)}

    with Prefetcher(numbers(), lambda batch: int(batch["n"]), count=7) as batches:
        assert next(batches) == 0
        assert list(batches) == [1, 2, 3, 4, 5, 6]
    assert read == list(range(7))


def test_what_reading_raised_reaches_whoever_asks_for_that_batch() -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield {"n": np.asarray(0)}
        raise OSError("the disk went away")

    with Prefetcher(broken(), lambda batch: int(batch["n"]), count=5) as batches:
        assert next(batches) == 0
        with pytest.raises(OSError, match="the disk went away"):
            next(batches)


def test_left_early_no_thread_stays() -> None:
    with Prefetcher(train_batches(Numbers(), batch=6, seed=0, start=0), id, count=100) as batches:
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("input")]
