"""What image datasets share: their spec, and what an open one is. Reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import scalax as sx
from scalax_vision.classify import Image


@dataclass(frozen=True)
class OpenImages:
    """Labelled images, split.

    Attributes:
        spec: What they are.
        splits: The images by split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, sx.Source]

    def source(self, split: sx.Split) -> sx.Source:
        """The images of a split."""
        return self.splits[split]


def opened(
    name: str,
    splits: Mapping[sx.Split, sx.Source],
    *,
    image: Image,
    classes: int,
    fingerprint: str,
) -> OpenImages:
    """Labelled images, counted in examples.

    Args:
        name: What the user wrote.
        splits: The images by split.
        image: Height, width and channels.
        classes: Labels.
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


def demand_examples(wanted: int | None, there: int) -> None:
    """Raises a ScalaxError where more distinct examples are asked for than there are."""
    if wanted is not None and wanted > there:
        raise sx.ScalaxError(
            f"there are {there:,} to train on, not {wanted:,}",
            where="data.examples",
            fix=f"write {there} or less, or leave it out",
        )
