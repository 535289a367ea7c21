"""The `tfds:mnist` dataset: 70,000 digits of 28x28 pixels, read through TensorFlow Datasets.

Read from array_record files, which needs no TensorFlow; it never downloads or prepares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import scalax as sx
from scalax_vision.images import image_spec

_SPLITS: Mapping[sx.Split, str] = {"train": "train", "eval": "test"}


class _Options(sx.Settings):
    data_dir: str | None = None


class TfdsImages:
    """Images of one TFDS split, decoded when read.

    Args:
        source: What the builder's ``as_data_source`` gave: ``image`` uint8, ``label`` a number.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        found = self._source[index]
        return {
            "image": np.asarray(found["image"], np.float32) / 255,
            "label": np.asarray(found["label"], np.int32),
        }


@dataclass(frozen=True)
class OpenMnist:
    """The prepared set.

    Attributes:
        spec: What it holds.
        builder: Its TFDS builder.
    """

    spec: sx.DataSpec
    builder: Any

    def source(self, split: sx.Split) -> TfdsImages:
        """The images of a split: TFDS's ``train``, or its ``test`` for ``eval``."""
        return TfdsImages(self.builder.as_data_source(split=_SPLITS[split]))


class Mnist(sx.Dataset):
    """MNIST (LeCun et al. 1998): 60,000 images to train on, 10,000 held out.

    Option of ``[data]``: ``data_dir``, where TFDS keeps its sets, if not in its usual place.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:mnist"
    title: ClassVar[str] = "70,000 digits, 28x28 pixels, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenMnist:
        """Finds the prepared set; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        builder = sx.open_tfds(name, parsed.data_dir)
        info = builder.info
        height, width, channels = info.features["image"].shape
        spec = image_spec(
            name,
            image=(height, width, channels),
            classes=info.features["label"].num_classes,
            train_examples=info.splits["train"].num_examples,
            eval_examples=info.splits["test"].num_examples,
            fingerprint=_fingerprint(info.splits),
        )
        return OpenMnist(spec, builder)


def _fingerprint(splits: Mapping[str, Any]) -> str:
    """Hash of the record files' bytes, some 12 MB."""
    digest = hashlib.sha256()
    for split in _SPLITS.values():
        for path in splits[split].filepaths:
            digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:32]
