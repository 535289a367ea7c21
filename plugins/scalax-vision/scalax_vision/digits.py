"""The `digits` dataset: scikit-learn's 1,797 scans of digits, 8x8 pixels; always there, offline.

The source is the test part of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak
1998, doi:10.24432/C50P49), as ``sklearn.datasets.load_digits`` gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import scalax as sx
from scalax_vision.images import image_spec

_BRIGHTEST = 16  # grey levels of a pixel: 0 to 16
_HELD_OUT_SHARE = 1 / 3


class _Options(sx.Settings):
    """The dataset has no options of its own."""


@dataclass(frozen=True)
class Images:
    """Labelled images in memory.

    Attributes:
        image: Float32 in [0, 1], [examples, height, width, channels].
        label: Int32 [examples].
    """

    image: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> sx.Example:
        return {"image": self.image[index], "label": self.label[index]}


@dataclass(frozen=True)
class OpenDigits:
    """The scans, split.

    Attributes:
        spec: What they are.
        splits: The images by split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Images]

    def source(self, split: sx.Split) -> Images:
        """The images of a split."""
        return self.splits[split]


class Digits(sx.Dataset):
    """Scans of handwritten digits, 8x8 pixels, two thirds of them to train on.

    A scan is held out by the hash of its pixels, so that the split depends on no order or
    generator, and equal scans never stand on both sides. ``[data]`` takes no options.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "digits"
    title: ClassVar[str] = "1,797 scans of digits, 8x8 pixels, from scikit-learn; always there"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenDigits:
        """Reads scikit-learn's copy; see `Dataset.open`."""
        from sklearn.datasets import load_digits

        sx.parse_settings(_Options, options, where="data")
        found = load_digits()
        pixels = found.images.astype(np.uint8)
        label = found.target.astype(np.int32)
        image = pixels[..., None].astype(np.float32) / _BRIGHTEST
        digests = [hashlib.sha256(scan.tobytes()).digest() for scan in pixels]
        held_out = np.array([_held_out(digest) for digest in digests])
        splits: dict[sx.Split, Images] = {
            "train": Images(image[~held_out], label[~held_out]),
            "eval": Images(image[held_out], label[held_out]),
        }
        spec = image_spec(
            name,
            image=(8, 8, 1),
            classes=10,
            train_examples=len(splits["train"]),
            eval_examples=len(splits["eval"]),
            fingerprint=hashlib.sha256(pixels.tobytes() + label.tobytes()).hexdigest()[:32],
        )
        return OpenDigits(spec, splits)


def _held_out(digest: bytes) -> bool:
    return int.from_bytes(digest[:8], "big") < _HELD_OUT_SHARE * 2**64
