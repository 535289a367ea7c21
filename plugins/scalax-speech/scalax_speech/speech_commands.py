"""The `tfds:speech_commands` dataset: recorded keywords.

It reads array_record files through TensorFlow Datasets. It never downloads or prepares the set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import scalax as sx
from scalax_speech import features

# In the order of TFDS: speech_commands 0.0.3 of tensorflow-datasets 4.9.10.
LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("_silence_", "_unknown_"),
)


class _Options(sx.Settings):
    held_out: Literal["validation", "test"] = "validation"
    data_dir: str | None = None


class Recordings:
    """Recordings of one TFDS split, converted to features when they are read.

    Args:
        source: The builder's data source, with ``audio`` in int16 and ``label``, a number.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        recording = self._source[index]
        return {
            "features": features.log_mel(np.asarray(recording["audio"], np.int16)),
            "label": np.asarray(recording["label"], np.int32),
        }


@dataclass(frozen=True)
class OpenSpeechCommands:
    """The prepared set.

    Attributes:
        spec: Features and sizes.
        builder: The set's TFDS builder.
        names: Name of TFDS's split for each of scalax's splits.
    """

    spec: sx.DataSpec
    builder: Any
    names: Mapping[sx.Split, str]

    def source(self, split: sx.Split) -> Recordings:
        """Returns the recordings of a split."""
        return Recordings(self.builder.as_data_source(split=self.names[split]))


class SpeechCommands(sx.Dataset):
    """Speech Commands, version 2 (Warden 2018, arXiv:1804.03209): ten keywords, silence, others.

    A recording is cut or padded with zeros to one second. Options of ``[data]``: ``held_out`` and
    ``data_dir``, the folder of TFDS's sets. ``held_out`` is ``"validation"`` (the default, with the
    labels' frequencies of the training set) or ``"test"`` (about equal frequencies, as others
    report).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:speech_commands"
    title: ClassVar[str] = "recorded keywords, one second each, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenSpeechCommands:
        """Opens the prepared set; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        builder = sx.open_tfds(name, parsed.data_dir, make=_reader)
        names: dict[sx.Split, str] = {"train": "train", "eval": parsed.held_out}
        splits = builder.info.splits
        spec = features.keyword_spec(
            name,
            classes=len(LABELS),
            train_examples=splits[names["train"]].num_examples,
            eval_examples=splits[names["eval"]].num_examples,
            fingerprint=_fingerprint(splits, names),
        )
        return OpenSpeechCommands(spec, builder, names)


def _reader(**options: Any) -> Any:
    """Returns a builder that only reads the set.

    TFDS's own builder declares sound as ``features.Audio``, which imports TensorFlow even to read.
    TFDS stores the samples as a tensor, so this builder declares a tensor.
    """
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Reader(tfds.core.GeneratorBasedBuilder):
            name = "speech_commands"
            VERSION = tfds.core.Version("0.0.3")

            def _info(self) -> Any:
                stored = {
                    "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16),
                    "label": tfds.features.ClassLabel(names=LABELS),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(stored)
                )

            # TFDS requires both methods, but calls them only to prepare a set.
            def _split_generators(self, dl_manager: Any) -> Any:
                raise NotImplementedError("this builder only reads")

            def _generate_examples(self) -> Any:
                raise NotImplementedError("this builder only reads")

    return Reader(**options)


def _fingerprint(splits: Mapping[str, Any], names: Mapping[sx.Split, str]) -> str:
    """Hashes the names and sizes of the record files, and the first and last 64 kB of each."""
    digest = hashlib.sha256()
    for split in names.values():
        for path in splits[split].filepaths:
            with Path(path).open("rb") as file:
                size = file.seek(0, 2)
                digest.update(f"{Path(path).name} {size}".encode())
                for start in (0, max(0, size - 2**16)):
                    file.seek(start)
                    digest.update(file.read(2**16))
    return digest.hexdigest()[:32]
