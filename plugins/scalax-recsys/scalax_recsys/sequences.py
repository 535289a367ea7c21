"""Examples for next-item prediction, made from each user's items in order.

The hash of a user's key decides the split of all the user's items. The arrays are built once and
stored in scalax's cache. An example is made from them when it is read.
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
    """Keys of ``[data]`` for every dataset of sequences.

    Attributes:
        history: Number of items before the target that the model sees.
        negatives: Number of other items that a target is ranked against.
        min_users: Users that an item must have; rarer items are left out.
    """

    history: int = Field(16, ge=1)
    negatives: int = Field(127, ge=1)
    min_users: int = Field(5, ge=1)


@dataclass(frozen=True)
class User:
    """One user of a source.

    Attributes:
        key: Decides the split; users with equal keys are in the same split.
        fields: Attributes of the user, one text per field.
        items: Items in order.
    """

    key: bytes
    fields: tuple[str, ...]
    items: Sequence[str]


@dataclass(frozen=True)
class Interactions:
    """The items of a split's users, one user after another.

    Attributes:
        items: Item numbers from 1 on, int32 [interactions].
        users: User of each interaction, int32 [interactions].
        starts: Index of each user's first item, int64 [users].
        fields: Hashes of each user's fields, int32 [users, fields].
    """

    items: np.ndarray
    users: np.ndarray
    starts: np.ndarray
    fields: np.ndarray


class Examples:
    """One example for each interaction of a split.

    Args:
        split: Interactions of the split.
        pool: Items to draw negatives from, int32 [training interactions].
        options: Lengths of history and negatives.
        salt: Makes the draws of the splits differ.
    """

    def __init__(
        self, split: Interactions, pool: np.ndarray, options: SequenceOptions, salt: int
    ) -> None:
        self._split, self._pool, self._options, self._salt = split, pool, options, salt

    def __len__(self) -> int:
        return len(self._split.items)

    def __getitem__(self, index: int) -> sx.Example:
        split, length, count = self._split, self._options.history, self._options.negatives
        user = split.users[index]
        before = split.items[max(split.starts[user], index - length) : index]
        history = np.zeros(length, np.int32)
        history[: len(before)] = before[::-1]
        first = (2 * index + self._salt) * count
        drawn = scrambled(np.arange(first, first + count, dtype=np.uint64))
        return {
            "fields": split.fields[user],
            "history": history,
            "target": split.items[index],
            "negatives": self._pool[drawn % np.uint64(len(self._pool))],
        }

    def __repr__(self) -> str:
        return f"Examples({len(self)})"


@dataclass(frozen=True)
class OpenSequences:
    """An opened dataset of sequences.

    Attributes:
        spec: Features and sizes.
        splits: Interactions of each split.
        options: Lengths of history and negatives.
        names: Name of each item, from number 1 on.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Interactions]
    options: SequenceOptions
    names: Sequence[str]

    def source(self, split: sx.Split) -> Examples:
        """Returns the examples of a split; negatives are drawn from the training interactions."""
        pool = self.splits["train"].items
        return Examples(self.splits[split], pool, self.options, int(split == "eval"))


def open_sequences(
    name: str,
    options: SequenceOptions,
    key: Mapping[str, object],
    users: Callable[[], Iterable[User]],
) -> OpenSequences:
    """Opens a dataset of sequences; reads the users only if the cache has no arrays of them.

    Args:
        name: The dataset's name, as the user wrote it.
        options: Lengths of history and negatives, and the rarest items to keep.
        key: Everything that decides the content, except ``min_users``.
        users: Reads all users; all have the same number of fields.

    Raises:
        ScalaxError: A split is empty, or the cache cannot be written.
    """
    identity = json.dumps([_FORMAT, key, options.min_users], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()
    file = sx.cache_folder() / "sequences" / f"{digest[:32]}.npz"
    if not file.is_file():
        _write(file, _arrays(users(), options.min_users))
    with np.load(file) as archive:
        arrays = {part: archive[part] for part in archive.files}
    splits: dict[sx.Split, Interactions] = {
        split: Interactions(
            *(arrays[f"{split}_{part}"] for part in ("items", "users", "starts", "fields"))
        )
        for split in get_args(sx.Split)
    }
    for split, interactions in splits.items():
        if not len(interactions.items):
            raise sx.ScalaxError(
                f"no interaction in split {split!r}, since too few users share an item",
                where=f"data {name!r}",
                fix="read more users, or set a smaller min_users",
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
        classes=len(arrays["names"]) + 1,  # 0 means no item
        train_examples=len(splits["train"].items),
        eval_examples=len(splits["eval"].items),
        fingerprint=_fingerprint(arrays, options),
    )
    return OpenSequences(spec, splits, options, arrays["names"])


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """Hashes consecutive numbers to 64-bit values by SplitMix64 (Steele et al. 2014).

    Example:
        >>> [hex(v) for v in scrambled(np.arange(1, 3, dtype=np.uint64))]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    z = numbers * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _write(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes to a temporary file and renames it, so that no process reads a partial file."""
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
    active = [user for user in users if user.items]
    counts = Counter(item for user in active for item in set(user.items))
    names = sorted(
        (item for item, count in counts.items() if count >= min_users),
        key=lambda item: (-counts[item], item),
    )
    numbers = {item: number for number, item in enumerate(names, 1)}
    arrays: dict[str, np.ndarray] = {"names": np.array(names, dtype=np.str_)}
    splits: dict[sx.Split, list[User]] = {"train": [], "eval": []}
    for user in active:
        splits["eval" if sx.is_held_out(user.key, _HELD_OUT_SHARE) else "train"].append(user)
    width = len(active[0].fields) if active else 0
    for split, members in splits.items():
        rows = [[numbers[item] for item in user.items if item in numbers] for user in members]
        lengths = np.array([len(row) for row in rows], np.int64)
        fields = [[_hashed(k, text) for k, text in enumerate(user.fields)] for user in members]
        arrays |= {
            f"{split}_items": np.array([number for row in rows for number in row], np.int32),
            f"{split}_users": np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
            f"{split}_starts": np.cumsum(lengths) - lengths,
            f"{split}_fields": np.array(fields, np.int32).reshape(len(rows), width),
        }
    return arrays


def _hashed(field: int, text: str) -> int:
    """Returns a 31-bit hash of a field's value, which a model takes modulo the rows."""
    digest = hashlib.sha256(f"{field}:{text}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _fingerprint(arrays: Mapping[str, Any], options: SequenceOptions) -> str:
    digest = hashlib.sha256(options.model_dump_json(include={"history", "negatives"}).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:32]
