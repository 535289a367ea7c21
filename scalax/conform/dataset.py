"""Checks a dataset: the same examples each time, readable from any position, disjoint splits.

Large sets are read in part; each line says how much of it was read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from scalax.conform.interface import says_what_it_is
from scalax.conform.report import Checklist, Line, NotMetError
from scalax.data.base import Dataset, Example, OpenDataset, Source, Split
from scalax.data.open import check_example, open_dataset
from scalax.data.pipeline import eval_batches, train_batches
from scalax.registry import Entry

_BATCH, _SEED = 12, 7
_SOME = 64
_MOST = 20_000
_SHARED_WINDOWS = 0.01


def check_dataset(
    entry: Entry, dataset: Dataset, name: str, options: Mapping[str, Any]
) -> tuple[Line, ...]:
    """The lines of a dataset's report.

    Args:
        entry: How it was found.
        dataset: What was loaded.
        name: What the user wrote, such as ``tfds:mnist``.
        options: Keys of ``[data]`` to open it with, over those of its trial.
    """
    checklist = Checklist()
    keys = {**dataset.trial, **options}
    checklist.check("says what it is", lambda: says_what_it_is(entry, dataset, ("title",)))
    if not checklist.check("opens and yields what its spec says", lambda: _opens(name, keys)):
        return tuple(checklist.lines)
    data = open_dataset(name, keys)
    checklist.check("deterministic", lambda: _deterministic(data, open_dataset(name, keys)))
    checklist.check("resumable at any position", lambda: _resumable(data))
    checklist.check("splits are disjoint", lambda: _disjoint(data))
    checklist.check("sharded reads cover each example once", lambda: _covered(data))
    return tuple(checklist.lines)


def _opens(name: str, options: Mapping[str, Any]) -> str:
    spec = open_dataset(name, options).spec
    if not spec.fingerprint:
        raise NotMetError("its spec has no fingerprint: hash the content")
    features = ", ".join(f"{k} {f.dtype}{list(f.shape)}" for k, f in spec.features.items())
    return f"{spec.train_examples:,} to train on, {spec.eval_examples:,} held out; {features}"


def _deterministic(data: OpenDataset, again: OpenDataset) -> str:
    if data.spec != again.spec:
        raise NotMetError(f"opened twice, its spec was {data.spec} and {again.spec}")
    read = 0
    for split in get_args(Split):
        one, other = data.source(split), again.source(split)
        for index in _spread(len(one), _SOME):
            example = one[index]
            check_example(data.spec, example, f"example {index} of {split!r}")
            for where, found in (("opened again", other[index]), ("read again", one[index])):
                if _digest(example) != _digest(found):
                    raise NotMetError(f"example {index} of {split!r} is another when {where}")
            read += 1
    return f"{read} examples read three times, equal in every byte"


def _resumable(data: OpenDataset) -> str:
    source = data.source("train")
    epoch = max(1, min(len(source), _MOST) // _BATCH)
    for start in sorted({0, 1, epoch // 2, epoch, epoch + 1}):
        before = min(start, 2)
        straight = train_batches(source, batch=_BATCH, seed=_SEED, start=start - before)
        resumed = train_batches(source, batch=_BATCH, seed=_SEED, start=start)
        pairs = zip(itertools.islice(straight, before, before + 2), resumed, strict=False)
        for step, (one, other) in enumerate(pairs, start):
            if _digest(one) != _digest(other):
                raise NotMetError(f"batch {step} is another when reading starts at batch {start}")
    return f"from batches 0, 1, {epoch // 2}, {epoch} and {epoch + 1} on"


def _disjoint(data: OpenDataset) -> str:
    train, held_out = data.source("train"), data.source("eval")
    seen = {_digest(train[k]) for k in _spread(len(train), _MOST)}
    indices = _spread(len(held_out), _MOST)
    shared = [k for k in indices if _digest(held_out[k]) in seen]
    # A window is cut from a longer document: two documents may hold the same lines.
    most = _SHARED_WINDOWS * len(indices) if data.spec.unit == "tokens" else 0
    overlap = f"{len(shared):,} of {len(indices):,} held-out examples are also among {len(seen):,}"
    if len(shared) > most:
        raise NotMetError(
            f"{overlap} to train on, such as example {shared[0]}: split by the content"
        )
    return f"{overlap} different ones to train on"


def _covered(data: OpenDataset) -> str:
    source = data.source("train")
    steps = min(len(source), _MOST) // _BATCH
    for hosts in (2, 3):
        parts = [np.arange(_BATCH)[host::hosts] for host in range(hosts)]
        shards = [_indices(source, steps, rows) for rows in parts]
        whole = _indices(source, steps, None)
        if sorted(itertools.chain(*shards)) != sorted(whole):
            raise NotMetError(f"{hosts} hosts read other examples than one does")
        if len(set(whole)) < len(whole):
            raise NotMetError("an example comes twice in one epoch")
    held_out = data.source("eval")
    count = min(len(held_out), _MOST)
    weights = [
        float(batch["mask"].sum())
        for batch in eval_batches(_Numbered(held_out), batch=_BATCH, examples=count)
    ]
    if sum(weights) != count:
        raise NotMetError(f"{count} held-out examples weigh {sum(weights):g} when read in batches")
    real = itertools.islice(train_batches(source, batch=_BATCH, seed=_SEED, start=0), 4)
    split = [train_batches(source, batch=_BATCH, seed=_SEED, start=0, rows=rows) for rows in parts]
    for step, batch in enumerate(real):
        for rows, host in zip(parts, split, strict=True):
            if _digest(next(host)) != _digest({k: v[rows] for k, v in batch.items()}):
                raise NotMetError(f"batch {step} is another when {hosts} hosts read its parts")
    return f"{len(whole):,} examples by 1, 2 and 3 hosts, each once; {count:,} held-out ones"


def _indices(source: Source, steps: int, rows: np.ndarray | None) -> list[int]:
    batches = train_batches(_Numbered(source), batch=_BATCH, seed=_SEED, start=0, rows=rows)
    return [int(k) for batch in itertools.islice(batches, steps) for k in batch["index"]]


class _Numbered:
    """A source as the pipeline sees it, that gives only which example was read."""

    def __init__(self, source: Source) -> None:
        self._count = len(source)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Example:
        return {"index": np.asarray(index)}

    def __repr__(self) -> str:
        return f"_Numbered({self._count})"


def _spread(count: int, most: int) -> list[int]:
    """Indices from the first to the last: all, or so many of them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _digest(example: Mapping[str, Any]) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(example):
        found.update(name.encode())
        found.update(np.ascontiguousarray(example[name]).tobytes())
    return found.digest()
