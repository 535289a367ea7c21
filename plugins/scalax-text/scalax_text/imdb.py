"""The `tfds:imdb_reviews` dataset: who liked a film, read through TensorFlow Datasets.

Read from array_record files, which needs no TensorFlow; it never downloads or prepares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

import scalax as sx
from scalax_text.encoding import encode

_SPLITS: Mapping[sx.Split, str] = {"train": "train", "eval": "test"}


class _Options(sx.Settings):
    seq_len: int = Field(1024, ge=1)
    data_dir: str | None = None


class Reviews:
    """The reviews of one TFDS split, encoded when read.

    Args:
        source: What the builder's ``as_data_source`` gave: ``text`` in bytes, ``label``.
        length: Bytes of a review that are kept, its first.
    """

    def __init__(self, source: Any, length: int) -> None:
        self._source, self._length = source, length

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        found = self._source[index]
        return {
            "text": encode(bytes(found["text"]), self._length),
            "label": np.asarray(found["label"], np.int32),
        }


@dataclass(frozen=True)
class OpenReviews:
    """The prepared set.

    Attributes:
        spec: What it holds.
        builder: Its TFDS builder.
        length: Bytes of a review.
    """

    spec: sx.DataSpec
    builder: Any
    length: int

    def source(self, split: sx.Split) -> Reviews:
        """The reviews of a split: TFDS's ``train``, or its ``test`` for ``eval``."""
        return Reviews(self.builder.as_data_source(split=_SPLITS[split]), self.length)


class ImdbReviews(sx.Dataset):
    """IMDB reviews (Maas et al. 2011): 25,000 to train on, 25,000 held out, two labels.

    Options of ``[data]``: ``seq_len``, the bytes of a review that are read (1,024 from its
    start), and ``data_dir``, where TFDS keeps its sets, if not in its usual place.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:imdb_reviews"
    title: ClassVar[str] = "50,000 film reviews, good or bad, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenReviews:
        """Finds the prepared set; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        builder = sx.open_tfds(name, parsed.data_dir)
        splits = builder.info.splits
        spec = sx.DataSpec(
            name=name,
            unit="examples",
            units_per_example=1,
            features={
                "text": sx.Feature((parsed.seq_len,), "int32"),
                "label": sx.Feature((), "int32"),
            },
            classes=builder.info.features["label"].num_classes,
            train_examples=splits["train"].num_examples,
            eval_examples=splits["test"].num_examples,
            fingerprint=_fingerprint(splits, parsed.seq_len),
        )
        return OpenReviews(spec, builder, parsed.seq_len)


def _fingerprint(splits: Mapping[str, Any], length: int) -> str:
    """Hash of the record files' bytes, some 70 MB, and of the cut."""
    digest = hashlib.sha256(str(length).encode())
    for split in _SPLITS.values():
        for path in splits[split].filepaths:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:32]
