"""What the image families share: which data they read, their metrics, how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import scalax as sx

Image = tuple[int, int, int]
"""Height, width and channels."""


class Classifier(sx.ModelFamily):
    """A family of modules from images [batch, height, width, channels] to logits."""

    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "error_rate")

    def image(self, data: sx.DataSpec) -> Image:
        """Height, width and channels of the data's images.

        Raises:
            ScalaxError: It has no labelled images.
        """
        image, label = data.features.get("image"), data.features.get("label")
        if image is None or label is None or len(image.shape) != 3:
            raise sx.ScalaxError(
                "needs data with features 'image' [height, width, channels] and 'label'; "
                f"{data.name} has {', '.join(data.features)}",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        height, width, channels = image.shape
        return height, width, channels

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed cross-entropy in nats, right and wrong answers, over the examples."""
        from scalax_vision.layers import label_sums

        return label_sums(module, batch)
