"""The `digits` dataset: 1,797 scans of digits, 8x8 pixels, which scikit-learn contains.

The source is the test set of UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak
1998, doi:10.24432/C50P49), read with ``sklearn.datasets.load_digits``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

import scalax as sx
from scalax_vision.images import OpenImages, check_examples, opened

_BRIGHTEST = 16  # pixels have grey levels from 0 to 16
_HELD_OUT_SHARE = 1 / 3


class _Options(sx.Settings):
    examples: int | None = Field(None, ge=1)


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


class Digits(sx.Dataset):
    """Scans of handwritten digits, 8x8 pixels; two thirds of them are for training.

    The hash of a scan's pixels decides its split. The split therefore depends on no order or random
    generator, and equal scans are always in the same split.

    Option of ``[data]``: ``examples``, how many of the 1,208 scans to train on. The same hash
    chooses them, so a smaller choice is always part of a larger one.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "digits"
    title: ClassVar[str] = "1,797 scans of digits, 8x8 pixels, from scikit-learn; offline"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenImages:
        """Reads scikit-learn's copy; see `Dataset.open`."""
        from sklearn.datasets import load_digits

        examples = sx.parse_settings(_Options, options, where="data").examples
        scans = load_digits()
        pixels = scans.images.astype(np.uint8)
        label = scans.target.astype(np.int32)
        image = pixels[..., None].astype(np.float32) / _BRIGHTEST
        digests = [hashlib.sha256(scan.tobytes()).digest() for scan in pixels]
        held_out = np.array([sx.is_held_out(scan.tobytes(), _HELD_OUT_SHARE) for scan in pixels])
        train = np.flatnonzero(~held_out)
        fingerprint = hashlib.sha256(pixels.tobytes() + label.tobytes())
        if examples is not None:
            check_examples(examples, len(train))
            train = np.sort(sorted(train, key=lambda scan: digests[scan])[-examples:])
            fingerprint.update(f"{examples} examples".encode())
        return opened(
            name,
            {
                "train": Images(image[train], label[train]),
                "eval": Images(image[held_out], label[held_out]),
            },
            image=(8, 8, 1),
            classes=10,
            fingerprint=fingerprint.hexdigest()[:32],
        )
