"""Image sets of TensorFlow Datasets: `tfds:mnist`, `tfds:cifar10`, `tfds:imagenet2012`.

Read from array_record files, which needs no TensorFlow; it never downloads or prepares. An index
is always the same example, so that runs can be resumed and divided over hosts: no augmentation,
which would have to know the epoch.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

import scalax as sx
from scalax_vision.classify import Image
from scalax_vision.images import OpenImages, demand_examples, opened

_WHOLE, _END = 2**26, 2**16  # bytes of a record file that are hashed: all, or these at each end


class _Options(sx.Settings):
    data_dir: str | None = None
    examples: int | None = Field(None, ge=1)


class _SizedOptions(_Options):
    size: int = Field(224, ge=8)


class StoredImages:
    """Images of one TFDS split, decoded when read.

    Args:
        source: What the builder's ``as_data_source`` gave: ``image``, its encoded bytes, and
            ``label``, a number.
        image: Height, width and channels to give; those stored but where the set has images of
            many shapes.
        mean: Taken from each channel of values from 0 to 1.
        std: Each channel is divided by it after that.
    """

    def __init__(
        self, source: Any, image: Image, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        self._source, self._image = source, image
        self._mean, self._std = (np.asarray(of, np.float32) for of in (mean, std))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        found = self._source[index]
        pixels = decoded(found["image"], self._image).astype(np.float32) / 255
        return {
            "image": (pixels - self._mean) / self._std,
            "label": np.asarray(found["label"], np.int32),
        }


def decoded(encoded: bytes, image: Image) -> np.ndarray:
    """Pixels uint8 [height, width, channels] of a JPEG or PNG.

    Where the image stored has another shape, it is scaled until its shorter side, in proportion,
    is that of the shape, and the middle is kept.
    """
    from PIL import Image as Picture

    height, width, channels = image
    with Picture.open(io.BytesIO(encoded)) as picture:
        mode = "L" if channels == 1 else "RGB"
        picture.draft(mode, (width, height))  # a JPEG is decoded at a fraction of its size
        flat = picture.convert(mode)
        if flat.size != (width, height):
            scale = min(flat.width / width, flat.height / height)
            left, top = (flat.width - scale * width) / 2, (flat.height - scale * height) / 2
            box = (left, top, left + scale * width, top + scale * height)
            flat = flat.resize((width, height), Picture.Resampling.BICUBIC, box)
        return np.asarray(flat, np.uint8).reshape(image)


class TfdsImages(sx.Dataset):
    """A set of labelled images as TFDS prepares it.

    Options of ``[data]``: ``data_dir``, where TFDS keeps its sets, if not in its usual place, and
    ``examples``, how many of those to train on are used: the first, TFDS having shuffled them.

    Class attributes:
        held_out: TFDS's name of the split that is held out.
        mean: Taken from each channel of values from 0 to 1.
        std: Each channel is divided by it after that.
        settings: The schema of its options.
    """

    interface: ClassVar[int] = 1
    held_out: ClassVar[str] = "test"
    mean: ClassVar[tuple[float, ...]] = (0.0,)
    std: ClassVar[tuple[float, ...]] = (1.0,)
    settings: ClassVar[type[_Options]] = _Options

    def open(self, name: str, options: Mapping[str, Any]) -> OpenImages:
        """Finds the prepared set; see `Dataset.open`."""
        import tensorflow_datasets as tfds

        asked = sx.parse_settings(self.settings, options, where="data")
        builder = sx.open_tfds(name, asked.data_dir)
        info, undecoded = builder.info, {"image": tfds.decode.SkipDecoding()}
        there = info.splits["train"].num_examples
        demand_examples(asked.examples, there)
        first = "train" if asked.examples is None else f"train[:{asked.examples}]"
        image = self.image(info.features["image"].shape, asked)

        def source(split: str) -> StoredImages:
            found = builder.as_data_source(split=split, decoders=undecoded)
            return StoredImages(found, image, self.mean, self.std)

        return opened(
            name,
            {"train": source(first), "eval": source(self.held_out)},
            image=image,
            classes=info.features["label"].num_classes,
            fingerprint=_fingerprint(info.splits, self.held_out, f"{first} {image}"),
        )

    def image(self, stored: Image, asked: Any) -> Image:
        """Height, width and channels to give, from those stored and the options."""
        del asked
        return stored


class Mnist(TfdsImages):
    """MNIST (LeCun et al. 1998): 60,000 images to train on, 10,000 held out; values from 0 to 1."""

    name: ClassVar[str] = "tfds:mnist"
    title: ClassVar[str] = "70,000 digits, 28x28 pixels, from TensorFlow Datasets"


class Cifar10(TfdsImages):
    """CIFAR-10 (Krizhevsky 2009): 50,000 images to train on, 10,000 held out.

    Values run from -1 to 1.
    """

    name: ClassVar[str] = "tfds:cifar10"
    title: ClassVar[str] = "60,000 photographs of ten kinds, 32x32 pixels, from TensorFlow Datasets"
    mean: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, ...]] = (0.5, 0.5, 0.5)


class ImageNet(TfdsImages):
    """ImageNet's 1,000 kinds (ILSVRC 2012): 1,281,167 images to train on, 50,000 held out.

    A third option, ``size`` (224): the shorter side of an image is scaled to it, and the square in
    the middle kept. Values are normalised by the set's mean and deviation of each channel, as
    torchvision's models take them.
    """

    name: ClassVar[str] = "tfds:imagenet2012"
    title: ClassVar[str] = "1.3 million photographs of 1,000 kinds, from TensorFlow Datasets"
    held_out: ClassVar[str] = "validation"
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    settings: ClassVar[type[_Options]] = _SizedOptions

    def image(self, stored: Image, asked: Any) -> Image:
        """A square of the size asked for."""
        return asked.size, asked.size, stored[2]


def _fingerprint(splits: Mapping[str, Any], held_out: str, use: str) -> str:
    """Hash of the record files and of what is made of them; of large files, of both their ends."""
    digest = hashlib.sha256(use.encode())
    for split in ("train", held_out):
        for path in splits[split].filepaths:
            for part in _parts(Path(path)):
                digest.update(part)
    return digest.hexdigest()[:32]


def _parts(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield str(size).encode()
    with path.open("rb") as file:
        if size <= _WHOLE:
            yield file.read()
        else:
            yield file.read(_END)
            file.seek(-_END, io.SEEK_END)
            yield file.read()
