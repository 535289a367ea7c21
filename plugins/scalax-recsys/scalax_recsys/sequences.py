"""Users' items in order, as examples: which item comes next after those before it.

A user is held out whole, by the hash of its key. The arrays are built once and kept in scalax's
cache; an example is cut from them when it is read.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import Field

import scalax as sx

_HELD_OUT_SHARE = 0.1
_FORMAT = 1


class SequenceOptions(sx.Settings):
    """Keys of ``[data]`` that every dataset of sequences takes.

    Attributes:
        history: Items before the one to predict that the model is given, the last ones.
        negatives: Other items that each is ranked among.
        min_users: Users that an item must have; rarer ones are left out.
    """

    history: int = Field(16, ge=1)
    negatives: int = Field(127, ge=1)
    min_users: int = Field(5, ge=1)


@dataclass(frozen=True)
class User:
    """One user of a source.

    Attributes:
        key: Decides the split; users of equal keys are on one side.
        fields: What is known of the user, one text a field.
        items: In order.
    """

    key: bytes
    fields: tuple[str, ...]
    items: Sequence[str]


@dataclass(frozen=True)
class Interactions:
    """The items of a split's users, one user after another.

    Attributes:
        items: Item numbers from 1 on, int32 [interactions].
        users: The user of each, int32 [interactions].
        starts: Where a user's items start, int64 [users].
        fields: Hashes of each user's fields, int32 [users, fields].
    """

    items: np.ndarray
    users: np.ndarray
    starts: np.ndarray
    fields: np.ndarray


class Examples:
    """One example for each interaction of a split.

    Args:
        found: The split's interactions.
        pool: Items that negatives are drawn from, int32 [training interactions].
        options: How much history, how many negatives.
        salt: Tells the draws of one split from those of the other.
    """

    def __init__(
        self, found: Interactions, pool: np.ndarray, options: SequenceOptions, salt: int
    ) -> None:
        self._found, self._pool, self._options, self._salt = found, pool, options, salt

    def __len__(self) -> int:
        return len(self._found.items)

    def __getitem__(self, index: int) -> sx.Example:
        found, most, count = self._found, self._options.history, self._options.negatives
        user = found.users[index]
        before = found.items[max(found.starts[user], index - most) : index]
        history = np.zeros(most, np.int32)
        history[: len(before)] = before[::-1]
        first = (2 * index + self._salt) * count
        drawn = scrambled(np.arange(first, first + count, dtype=np.uint64))
        return {
            "fields": found.fields[user],
            "history": history,
            "target": found.items[index],
            "negatives": self._pool[drawn % np.uint64(len(self._pool))],
        }

    def __repr__(self) -> str:
        return f"Examples({len(self)})"


@dataclass(frozen=True)
class OpenSequences:
    """A dataset of sequences, opened.

    Attributes:
        spec: What it holds.
        splits: Its interactions.
        options: How examples are cut from them.
        names: What each item is called, from number 1 on.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Interactions]
    options: SequenceOptions
    names: Sequence[str]

    def source(self, split: sx.Split) -> Examples:
        """The examples of a split; negatives are training items, drawn by how often they occur."""
        pool = self.splits["train"].items
        return Examples(self.splits[split], pool, self.options, int(split == "eval"))


def open_sequences(
    name: str,
    options: SequenceOptions,
    key: Mapping[str, object],
    users: Callable[[], Iterable[User]],
) -> OpenSequences:
    """Opens what users did, reading it only where the cache does not hold it.

    Args:
        name: What the user wrote.
        options: How examples are cut.
        key: What decides the content, but for ``min_users``.
        users: Reads all users, each with as many fields.

    Raises:
        ScalaxError: A split is empty, or the cache cannot be written.
    """
    identity = json.dumps([_FORMAT, key, options.min_users], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()
    file = sx.cache_folder() / "sequences" / f"{digest[:32]}.npz"
    if not file.is_file():
        _write(file, _arrays(users(), options.min_users))
    with np.load(file) as kept:
        arrays = {part: kept[part] for part in kept.files}
    splits: dict[sx.Split, Interactions] = {
        split: Interactions(
            *(arrays[f"{split}_{part}"] for part in ("items", "users", "starts", "fields"))
        )
        for split in get_args(sx.Split)
    }
    for split, found in splits.items():
        if not len(found.items):
            raise sx.ScalaxError(
                f"no interaction in split {split!r}: too few users share an item",
                where=f"data {name!r}",
                fix="give more users, or a smaller min_users",
            )
    spec = sx.DataSpec(
        name=name,
        unit="examples",
        units_per_example=1,
        features={
            "fields": sx.Feature(splits["train"].fields.shape[1:], "int32"),
            "history": sx.Feature((options.history,), "int32"),
            "target": sx.Feature((), "int32"),
            "negatives": sx.Feature((options.negatives,), "int32"),
        },
        classes=len(arrays["names"]) + 1,  # 0 stands for no item
        train_examples=len(splits["train"].items),
        eval_examples=len(splits["eval"].items),
        fingerprint=_fingerprint(arrays, options),
    )
    return OpenSequences(spec, splits, options, arrays["names"])


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """Well-mixed 64-bit values of consecutive numbers: SplitMix64 (Steele et al. 2014).

    Example:
        >>> [hex(v) for v in scrambled(np.arange(1, 3, dtype=np.uint64))]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = numbers * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes beside, then renames: two processes may write at once, and none reads a half."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as work:
            np.savez_compressed(work, allow_pickle=False, **arrays)
        Path(work.name).replace(file)
    except OSError as error:
        raise sx.ScalaxError(
            f"cannot write: {error.strerror or error}",
            where=str(file),
            fix="free some space, or set SCALAX_CACHE to another folder",
        ) from error


def _arrays(users: Iterable[User], min_users: int) -> dict[str, np.ndarray]:
    kept = [user for user in users if user.items]
    counts = Counter(item for user in kept for item in set(user.items))
    names = sorted(
        (item for item, count in counts.items() if count >= min_users),
        key=lambda item: (-counts[item], item),
    )
    numbers = {item: number for number, item in enumerate(names, 1)}
    arrays: dict[str, np.ndarray] = {"names": np.array(names, dtype=np.str_)}
    sides: dict[sx.Split, list[User]] = {"train": [], "eval": []}
    for user in kept:
        sides["eval" if _held_out(user.key) else "train"].append(user)
    width = len(kept[0].fields) if kept else 0
    for split, side in sides.items():
        rows = [[numbers[item] for item in user.items if item in numbers] for user in side]
        lengths = np.array([len(row) for row in rows], np.int64)
        fields = [[_hashed(k, text) for k, text in enumerate(user.fields)] for user in side]
        arrays |= {
            f"{split}_items": np.array([number for row in rows for number in row], np.int32),
            f"{split}_users": np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
            f"{split}_starts": np.cumsum(lengths) - lengths,
            f"{split}_fields": np.array(fields, np.int32).reshape(len(rows), width),
        }
    return arrays


def _held_out(key: bytes) -> bool:
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") < _HELD_OUT_SHARE * 2**64


def _hashed(field: int, text: str) -> int:
    """31 bits of a field's value: a model folds them to the rows of its table."""
    digest = hashlib.sha256(f"{field}:{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _fingerprint(arrays: Mapping[str, Any], options: SequenceOptions) -> str:
    digest = hashlib.sha256(options.model_dump_json(include={"history", "negatives"}).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:32]
