"""Token files: documents concatenated on disk and read as windows by index.

A token is a byte, and a zero byte follows each document. The files are written once to a cache, so
that a corpus of any size is read from disk in constant memory. The hash of a document's content
determines its split, so that equal documents are always in the same one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from scalax.data.base import Example, Split
from scalax.data.hold_out import is_held_out
from scalax.errors import ScalaxError
from scalax.files import disk_error, write_json
from scalax.folders import cache_folder
from scalax.shapes.base import DataSpec, Feature

VOCAB = 256
HELD_OUT_SHARE = 0.05
_FORMAT = 1


@dataclass(frozen=True)
class TokenDataset:
    """A packed corpus.

    Attributes:
        name: The name that the user wrote.
        folder: Folder of ``train.bin`` and ``eval.bin``.
        seq_len: Tokens in a window.
        tokens: Number of tokens by split.
        fingerprint: Hash of both files.
    """

    name: str
    folder: Path
    seq_len: int
    tokens: dict[str, int]
    fingerprint: str

    @property
    def spec(self) -> DataSpec:
        """The spec; the feature ``tokens`` has seq_len tokens and the one that follows them."""
        return DataSpec(
            name=self.name,
            unit="tokens",
            units_per_example=self.seq_len,
            features={"tokens": Feature((self.seq_len + 1,), "int32")},
            classes=VOCAB,
            train_examples=windows(self.tokens["train"], self.seq_len),
            eval_examples=windows(self.tokens["eval"], self.seq_len),
            fingerprint=self.fingerprint,
        )

    def source(self, split: Split) -> TokenWindows:
        """Returns the windows of a split."""
        return TokenWindows(self.folder / f"{split}.bin", self.seq_len)


class TokenWindows:
    """Windows of a token file. Window i starts at token i * seq_len and overlaps the next by one.

    The file is not memory-mapped: mapped pages count as memory of the process, and random windows
    would eventually touch all of them.
    """

    def __init__(self, path: Path, seq_len: int) -> None:
        self._path, self._seq_len = path, seq_len
        self._file = path.open("rb", buffering=0)
        self._tokens = path.stat().st_size

    def __len__(self) -> int:
        return windows(self._tokens, self._seq_len)

    def __getitem__(self, index: int) -> Example:
        read = os.pread(self._file.fileno(), self._seq_len + 1, index * self._seq_len)
        return {"tokens": np.frombuffer(read, np.uint8).astype(np.int32)}

    def __repr__(self) -> str:
        return f"TokenWindows({self._path.name}, {self._seq_len})"


def windows(tokens: int, seq_len: int) -> int:
    """Returns the number of whole windows; each also needs the token after it."""
    return max(0, (tokens - 1) // seq_len)


def pack(
    name: str,
    seq_len: int,
    key: dict[str, object],
    documents: Callable[[], Iterator[bytes]],
) -> TokenDataset:
    """Opens a packed corpus from the cache, or packs its documents first.

    Args:
        name: The dataset's name, for the spec and errors.
        seq_len: Tokens in a window.
        key: Everything that the documents depend on (paths, sizes, times), as JSON values: equal
            keys must mean equal documents.
        documents: Yields the documents; called only if the corpus is not in the cache.

    Raises:
        ScalaxError: The corpus is too small for one window of each split, or cannot be written.
    """
    digest = hashlib.sha256(json.dumps([_FORMAT, key], sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "tokens" / digest[:32]
    if not (folder / "meta.json").is_file():
        _write(folder, documents)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    dataset = TokenDataset(name, folder, seq_len, meta["tokens"], meta["fingerprint"])
    for split, count in dataset.tokens.items():
        if windows(count, seq_len) < 1:
            raise ScalaxError(
                f"{count} {split} tokens are too few for one window of {seq_len}",
                where=f"data {name!r}",
                fix="provide more text in several documents, or reduce seq_len",
            )
    return dataset


def _write(folder: Path, documents: Callable[[], Iterator[bytes]]) -> None:
    """Packs into a temporary folder and renames it, so that several processes may pack at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".packing-"))
    except OSError as error:
        raise disk_error(error, folder.parent) from error
    try:
        meta = _pack_into(work, documents())
        write_json(work / "meta.json", meta)
        try:
            work.rename(folder)
        except OSError:
            if not (folder / "meta.json").is_file():
                raise
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _pack_into(work: Path, documents: Iterator[bytes]) -> dict[str, object]:
    sums = {"train": hashlib.sha256(), "eval": hashlib.sha256()}
    tokens = {"train": 0, "eval": 0}
    with (work / "train.bin").open("wb") as train, (work / "eval.bin").open("wb") as held_out:
        files: dict[str, BinaryIO] = {"train": train, "eval": held_out}
        for document in documents:
            split = split_of(document)
            packed = document + b"\0"
            files[split].write(packed)
            sums[split].update(packed)
            tokens[split] += len(packed)
    fingerprint = hashlib.sha256(b"".join(s.digest() for s in sums.values())).hexdigest()
    return {"tokens": tokens, "fingerprint": fingerprint[:32]}


def split_of(document: bytes) -> Split:
    """Returns the split of a document: ``eval`` for a share of `HELD_OUT_SHARE`."""
    return "eval" if is_held_out(document, HELD_OUT_SHARE) else "train"
