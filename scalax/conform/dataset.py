"""Checks a dataset: repeatable reads, resuming from any batch, sharding, and disjoint splits.

Only part of a large dataset is read; each line states how many examples were read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from scalax.conform.interface import check_attributes
from scalax.conform.report import CheckFailedError, Checklist, Line
from scalax.data.base import Dataset, Example, OpenDataset, Source, Split
from scalax.data.open import check_example, open_dataset
from scalax.data.pipeline import eval_batches, train_batches
from scalax.registry import Entry

_BATCH, _SEED = 12, 7
_REREAD = 64  # examples of a split that are read three times
_MOST = 20_000  # examples of a split that are read
_SHARED_WINDOWS = 0.01


def check_dataset(
    entry: Entry, dataset: Dataset, name: str, options: Mapping[str, Any]
) -> tuple[Line, ...]:
    """Returns the lines of a dataset's report.

    Args:
        entry: The dataset's entry in the registry.
        dataset: The loaded plugin.
        name: The name that the user wrote, such as ``tfds:mnist``.
        options: Keys of ``[data]`` to open it with; they override those of its ``trial``.
    """
    checklist = Checklist()
    keys = {**dataset.trial, **options}
    checklist.check("declares its attributes", lambda: check_attributes(entry, dataset, ("title",)))
    if not checklist.check("examples match the spec", lambda: _matches_spec(name, keys)):
        return tuple(checklist.lines)
    data = open_dataset(name, keys)
    checklist.check("reads are repeatable", lambda: _repeatable(data, open_dataset(name, keys)))
    checklist.check("reading resumes at any batch", lambda: _resumable(data))
    checklist.check("splits are disjoint", lambda: _disjoint(data))
    checklist.check("sharded reads cover each example once", lambda: _sharded(data))
    return tuple(checklist.lines)


def _matches_spec(name: str, options: Mapping[str, Any]) -> str:
    spec = open_dataset(name, options).spec
    if not spec.fingerprint:
        raise CheckFailedError(
            "spec has no fingerprint (expected text that changes with the content)",
            fix="set fingerprint to a hash of the content",
        )
    features = ", ".join(f"{k} {f.dtype}{list(f.shape)}" for k, f in spec.features.items())
    return f"{spec.train_examples:,} training examples, {spec.eval_examples:,} held-out; {features}"


def _repeatable(data: OpenDataset, again: OpenDataset) -> str:
    if data.spec != again.spec:
        raise CheckFailedError(
            f"expected equal specs when opened twice, got {data.spec} and {again.spec}",
            fix="compute spec from the options and the content only",
        )
    read = 0
    for split in get_args(Split):
        source, reopened = data.source(split), again.source(split)
        for index in _spread(len(source), _REREAD):
            example = source[index]
            check_example(data.spec, example, f"example {index} of {split!r}")
            rereads = [("opened again", reopened[index]), ("read again", source[index])]
            for action, other in rereads:
                if _digest(example) != _digest(other):
                    raise CheckFailedError(
                        f"example {index} of {split!r} differs when {action} (expected the same "
                        "bytes)",
                        fix="return the same example for an index each time, without random draws",
                    )
            read += 1
    return f"{read} examples read three times, equal in every byte"


def _resumable(data: OpenDataset) -> str:
    source = data.source("train")
    epoch = max(1, min(len(source), _MOST) // _BATCH)
    starts = sorted({0, 1, epoch // 2, epoch, epoch + 1})
    for start in starts:
        before = min(start, 2)
        straight = train_batches(source, batch=_BATCH, seed=_SEED, start=start - before)
        resumed = train_batches(source, batch=_BATCH, seed=_SEED, start=start)
        pairs = zip(itertools.islice(straight, before, before + 2), resumed, strict=False)
        for step, (expected, actual) in enumerate(pairs, start):
            if _digest(expected) != _digest(actual):
                raise CheckFailedError(
                    f"batch {step} differs when reading starts at batch {start} (expected the "
                    "batch of an uninterrupted read)",
                    fix="make each example depend on its index only, not on earlier reads",
                )
    return f"from batches {', '.join(map(str, starts))}"


def _disjoint(data: OpenDataset) -> str:
    train, held_out = data.source("train"), data.source("eval")
    seen = {_digest(train[k]) for k in _spread(len(train), _MOST)}
    indices = _spread(len(held_out), _MOST)
    shared = [k for k in indices if _digest(held_out[k]) in seen]
    # Token windows are cut from longer documents, and two documents may contain the same lines.
    allowed = int(_SHARED_WINDOWS * len(indices)) if data.spec.unit == "tokens" else 0
    overlap = (
        f"{len(shared):,} of {len(indices):,} held-out examples are also among {len(seen):,} "
        "distinct training examples"
    )
    if len(shared) > allowed:
        raise CheckFailedError(
            f"{overlap} (expected at most {allowed:,}), such as example {shared[0]} of 'eval'",
            fix="split by content, for instance with sx.is_held_out",
        )
    return overlap


def _sharded(data: OpenDataset) -> str:
    source = data.source("train")
    steps = min(len(source), _MOST) // _BATCH
    for hosts in (2, 3):
        parts = [np.arange(_BATCH)[host::hosts] for host in range(hosts)]
        shards = [_indices(source, steps, rows) for rows in parts]
        whole = _indices(source, steps, None)
        if sorted(itertools.chain(*shards)) != sorted(whole):
            raise CheckFailedError(
                f"expected {hosts} hosts to read the same examples as one host",
                fix="return the same len(source) each time",
            )
        if len(set(whole)) < len(whole):
            raise CheckFailedError(
                "an example is read twice in one epoch (expected once)",
                fix="return the same len(source) each time",
            )
    held_out = data.source("eval")
    count = min(len(held_out), _MOST)
    weights = [
        float(batch["mask"].sum())
        for batch in eval_batches(_IndexSource(held_out), batch=_BATCH, examples=count)
    ]
    if sum(weights) != count:
        raise CheckFailedError(
            f"expected {count} held-out examples in all batches, got {sum(weights):g}",
            fix="return the same len(source) each time",
        )
    batches = itertools.islice(train_batches(source, batch=_BATCH, seed=_SEED, start=0), 4)
    by_host = [
        train_batches(source, batch=_BATCH, seed=_SEED, start=0, rows=rows) for rows in parts
    ]
    for step, batch in enumerate(batches):
        for rows, host in zip(parts, by_host, strict=True):
            if _digest(next(host)) != _digest({k: v[rows] for k, v in batch.items()}):
                raise CheckFailedError(
                    f"batch {step} differs when {hosts} hosts each read a part (expected the "
                    "same rows)",
                    fix="make each example depend on its index only, not on earlier reads",
                )
    return (
        f"{len(whole):,} training examples by 1, 2 and 3 hosts, and {count:,} held-out ones, once "
        "each"
    )


def _indices(source: Source, steps: int, rows: np.ndarray | None) -> list[int]:
    batches = train_batches(_IndexSource(source), batch=_BATCH, seed=_SEED, start=0, rows=rows)
    return [int(k) for batch in itertools.islice(batches, steps) for k in batch["index"]]


class _IndexSource:
    """A source of the same length whose examples are their indices."""

    def __init__(self, source: Source) -> None:
        self._count = len(source)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Example:
        return {"index": np.asarray(index)}

    def __repr__(self) -> str:
        return f"_IndexSource({self._count})"


def _spread(count: int, most: int) -> list[int]:
    """Returns all indices below ``count``, or ``most`` of them at equal distances."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _digest(example: Mapping[str, Any]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(example):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(example[name]).tobytes())
    return digest.digest()
