"""The base of the image families: required data, metrics and batch sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx

Image = tuple[int, int, int]
"""Height, width and channels."""

PUBLISHED_FROM = 16
"""Side in pixels from which `resnet` and `vit` use published recipes; smaller images use
recipes measured on `digits`."""


def root_batch(units: float, divisor: float, least: int) -> int:
    """Returns a batch, a power of two, that grows with the square root of the examples seen.

    Example:
        >>> [root_batch(units, divisor=10, least=8) for units in (1e3, 8e3, 32e3)]
        [8, 8, 16]
    """
    return max(least, 2 ** round(math.log2(math.sqrt(units) / divisor)))


class Classifier(sx.SizedFamily):
    """A family of modules from images [batch, height, width, channels] to logits."""

    features: ClassVar[tuple[str, ...]] = ("image", "label")
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "error_rate")

    def image(self, data: sx.DataSpec) -> Image:
        """Returns height, width and channels of the images.

        Raises:
            ScalaxError: The feature ``image`` has another number of dimensions.
        """
        sizes = data.features["image"].shape
        if len(sizes) != 3:
            raise sx.ScalaxError(
                f"wrong shape of feature 'image' of {data.name} (expected [height, width, "
                f"channels], got {list(sizes)})",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        height, width, channels = sizes
        return height, width, channels

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns cross-entropy in nats, right answers and wrong answers, summed over examples."""
        return sx.label_sums(module(batch["image"]), batch["label"], batch["mask"])
