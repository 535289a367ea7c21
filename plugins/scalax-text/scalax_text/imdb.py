"""The `tfds:imdb_reviews` dataset: film reviews and whether they are positive.

It reads array_record files through TensorFlow Datasets, which needs no TensorFlow. It never
downloads or prepares the set.
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
    """The reviews of one TFDS split, encoded when they are read.

    Args:
        source: The builder's data source, with ``text`` in bytes and ``label``.
        length: Bytes to keep from the start of a review.
    """

    def __init__(self, source: Any, length: int) -> None:
        self._source, self._length = source, length

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        review = self._source[index]
        return {
            "text": encode(bytes(review["text"]), self._length),
            "label": np.asarray(review["label"], np.int32),
        }


@dataclass(frozen=True)
class OpenReviews:
    """The prepared set.

    Attributes:
        spec: Features and sizes.
        builder: The set's TFDS builder.
        length: Bytes to keep of a review.
    """

    spec: sx.DataSpec
    builder: Any
    length: int

    def source(self, split: sx.Split) -> Reviews:
        """Returns the reviews of a split: TFDS's ``train``, or its ``test`` for ``eval``."""
        return Reviews(self.builder.as_data_source(split=_SPLITS[split]), self.length)


class ImdbReviews(sx.Dataset):
    """IMDB reviews (Maas et al. 2011): 25,000 to train on, 25,000 held out, two labels.

    Options of ``[data]``: ``seq_len``, the bytes to read from the start of a review (1,024), and
    ``data_dir``, the folder of TFDS's sets (TFDS's default).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:imdb_reviews"
    title: ClassVar[str] = "50,000 film reviews, good or bad, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenReviews:
        """Opens the prepared set; see `Dataset.open`."""
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
    """Hashes the bytes of the record files (about 70 MB) and the length that reviews are cut to."""
    digest = hashlib.sha256(str(length).encode())
    for split in _SPLITS.values():
        for path in splits[split].filepaths:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:32]
