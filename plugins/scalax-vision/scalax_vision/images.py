"""The spec of image datasets, and an opened dataset of images. Does no reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import scalax as sx
from scalax_vision.classify import Image


@dataclass(frozen=True)
class OpenImages:
    """An opened dataset of labelled images.

    Attributes:
        spec: Features and sizes.
        splits: Images of each split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, sx.Source]

    def source(self, split: sx.Split) -> sx.Source:
        """Returns the images of a split."""
        return self.splits[split]


def opened(
    name: str,
    splits: Mapping[sx.Split, sx.Source],
    *,
    image: Image,
    classes: int,
    fingerprint: str,
) -> OpenImages:
    """Returns an opened dataset of labelled images, counted in examples.

    Args:
        name: The dataset's name, as the user wrote it.
        splits: Images of each split.
        image: Height, width and channels.
        classes: Number of labels.
        fingerprint: Hash of the content.
    """
    spec = sx.DataSpec(
        name=name,
        unit="examples",
        units_per_example=1,
        features={"image": sx.Feature(image, "float32"), "label": sx.Feature((), "int32")},
        classes=classes,
        train_examples=len(splits["train"]),
        eval_examples=len(splits["eval"]),
        fingerprint=fingerprint,
    )
    return OpenImages(spec, splits)


def check_examples(requested: int | None, available: int) -> None:
    """Raises a ScalaxError if more distinct training examples are requested than there are."""
    if requested is not None and requested > available:
        raise sx.ScalaxError(
            f"too many training examples (expected at most {available:,}, got {requested:,})",
            where="data.examples",
            fix=f"write {available} or less, or leave it out",
        )
