"""What image datasets share: their spec. Reads nothing."""

from __future__ import annotations

import scalax as sx


def image_spec(
    name: str,
    *,
    image: tuple[int, int, int],
    classes: int,
    train_examples: int,
    eval_examples: int,
    fingerprint: str,
) -> sx.DataSpec:
    """Labelled images, counted in examples.

    Args:
        name: What the user wrote.
        image: Height, width and channels.
        classes: Labels.
        train_examples: Images to train on.
        eval_examples: Held-out images.
        fingerprint: Hash of the content.
    """
    return sx.DataSpec(
        name=name,
        unit="examples",
        units_per_example=1,
        features={"image": sx.Feature(image, "float32"), "label": sx.Feature((), "int32")},
        classes=classes,
        train_examples=train_examples,
        eval_examples=eval_examples,
        fingerprint=fingerprint,
    )
