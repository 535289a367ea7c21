"""Image sets of TensorFlow Datasets: `tfds:mnist`, `tfds:cifar10`, `tfds:imagenet2012`.

They read array_record files, which needs no TensorFlow. They never download or prepare a set. An
index always gives the same example, so that runs can be resumed and divided over hosts. There is no
augmentation, since it would depend on the epoch.
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
from scalax_vision.images import OpenImages, check_examples, opened

_WHOLE, _END = 2**26, 2**16  # bytes: larger record files are hashed only at both ends


class _Options(sx.Settings):
    data_dir: str | None = None
    examples: int | None = Field(None, ge=1)


class _SizedOptions(_Options):
    size: int = Field(224, ge=8)


class StoredImages:
    """Images of one TFDS split, decoded when they are read.

    Args:
        source: The builder's data source, with ``image`` in encoded bytes and ``label``, a number.
        image: Height, width and channels of the result.
        mean: Subtracted from each channel, whose values are from 0 to 1.
        std: Divides each channel after that.
    """

    def __init__(
        self, source: Any, image: Image, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        self._source, self._image = source, image
        self._mean, self._std = (np.asarray(values, np.float32) for values in (mean, std))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        example = self._source[index]
        pixels = decoded(example["image"], self._image).astype(np.float32) / 255
        return {
            "image": (pixels - self._mean) / self._std,
            "label": np.asarray(example["label"], np.int32),
        }


def decoded(encoded: bytes, image: Image) -> np.ndarray:
    """Decodes a JPEG or PNG to pixels, uint8 [height, width, channels].

    An image of another shape is scaled until it covers the requested shape, then cropped at the
    centre.
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
    """A set of labelled images that TFDS has prepared.

    Options of ``[data]``: ``data_dir``, the folder of TFDS's sets (TFDS's default), and
    ``examples``, how many training examples to use: the first ones, which TFDS has shuffled.

    Class attributes:
        held_out: TFDS's name of the held-out split.
        mean: Subtracted from each channel, whose values are from 0 to 1.
        std: Divides each channel after that.
        settings: Schema of the options.
    """

    interface: ClassVar[int] = 1
    held_out: ClassVar[str] = "test"
    mean: ClassVar[tuple[float, ...]] = (0.0,)
    std: ClassVar[tuple[float, ...]] = (1.0,)
    settings: ClassVar[type[_Options]] = _Options

    def open(self, name: str, options: Mapping[str, Any]) -> OpenImages:
        """Opens the prepared set; see `Dataset.open`."""
        import tensorflow_datasets as tfds

        parsed = sx.parse_settings(self.settings, options, where="data")
        builder = sx.open_tfds(name, parsed.data_dir)
        info, undecoded = builder.info, {"image": tfds.decode.SkipDecoding()}
        check_examples(parsed.examples, info.splits["train"].num_examples)
        first = "train" if parsed.examples is None else f"train[:{parsed.examples}]"
        image = self.image(info.features["image"].shape, parsed)

        def source(split: str) -> StoredImages:
            encoded = builder.as_data_source(split=split, decoders=undecoded)
            return StoredImages(encoded, image, self.mean, self.std)

        return opened(
            name,
            {"train": source(first), "eval": source(self.held_out)},
            image=image,
            classes=info.features["label"].num_classes,
            fingerprint=_fingerprint(info.splits, self.held_out, f"{first} {image}"),
        )

    def image(self, stored: Image, options: Any) -> Image:
        """Returns height, width and channels of an example, given the stored shape and options."""
        del options
        return stored


class Mnist(TfdsImages):
    """MNIST (LeCun et al. 1998): 60,000 images to train on, 10,000 held out; values in [0, 1]."""

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
    """ImageNet's 1,000 classes (ILSVRC 2012): 1,281,167 images to train on, 50,000 held out.

    It has a third option, ``size`` (224): the shorter side of an image is scaled to it, and the
    square at the centre is used. Values are normalised by the mean and standard deviation of each
    channel, as in torchvision.
    """

    name: ClassVar[str] = "tfds:imagenet2012"
    title: ClassVar[str] = "1.3 million photographs in 1,000 classes, from TensorFlow Datasets"
    held_out: ClassVar[str] = "validation"
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    settings: ClassVar[type[_Options]] = _SizedOptions

    def image(self, stored: Image, options: Any) -> Image:
        """Returns the shape of a square image of the requested size."""
        return options.size, options.size, stored[2]


def _fingerprint(splits: Mapping[str, Any], held_out: str, use: str) -> str:
    """Hashes the record files and their use; of large files it hashes both ends."""
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
