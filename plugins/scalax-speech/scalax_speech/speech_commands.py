"""The `tfds:speech_commands` dataset: recorded keywords, read through TensorFlow Datasets.

Read from array_record files; it never downloads or prepares.
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

# As TFDS orders them: speech_commands 0.0.3, of tensorflow-datasets 4.9.10.
LABELS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("_silence_", "_unknown_"),
)


class _Options(sx.Settings):
    held_out: Literal["validation", "test"] = "validation"
    data_dir: str | None = None


class Recordings:
    """Recordings of one TFDS split, made to features when read.

    Args:
        source: What the builder's ``as_data_source`` gave: ``audio`` int16, ``label`` a number.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        found = self._source[index]
        return {
            "features": features.log_mel(np.asarray(found["audio"], np.int16)),
            "label": np.asarray(found["label"], np.int32),
        }


@dataclass(frozen=True)
class OpenSpeechCommands:
    """The prepared set.

    Attributes:
        spec: What it holds.
        builder: Of TFDS.
        names: TFDS's split of each of ours.
    """

    spec: sx.DataSpec
    builder: Any
    names: Mapping[sx.Split, str]

    def source(self, split: sx.Split) -> Recordings:
        """The recordings of a split."""
        return Recordings(self.builder.as_data_source(split=self.names[split]))


class SpeechCommands(sx.Dataset):
    """Speech Commands, version 2 (Warden 2018, arXiv:1804.03209): ten keywords, silence, others.

    A recording is cut, or filled with zeros, to one second. Options of ``[data]``: ``held_out``,
    TFDS's ``validation``, drawn as its training set is (by default), or its ``test``, in which the
    labels are about equally frequent, to compare with what others report; ``data_dir``, where TFDS
    keeps its sets, if not in its usual place.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "tfds:speech_commands"
    title: ClassVar[str] = "recorded keywords, one second each, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenSpeechCommands:
        """Finds the prepared set; see `Dataset.open`."""
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


def _reader(**place: Any) -> Any:
    """The set's builder, to read alone.

    TFDS's own states its sound as ``features.Audio``, which imports TensorFlow even to read. It
    writes samples as it writes any tensor of them, so that they can be read as one.
    """
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Reader(tfds.core.GeneratorBasedBuilder):
            name = "speech_commands"
            VERSION = tfds.core.Version("0.0.3")

            def _info(self) -> Any:
                stated = {
                    "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16),
                    "label": tfds.features.ClassLabel(names=LABELS),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(stated)
                )

            # TFDS wants both, and calls them where a set is to be prepared, which this never is.
            def _split_generators(self, dl_manager: Any) -> Any:
                raise NotImplementedError("reads alone")

            def _generate_examples(self) -> Any:
                raise NotImplementedError("reads alone")

    return Reader(**place)


def _fingerprint(splits: Mapping[str, Any], names: Mapping[sx.Split, str]) -> str:
    """Hash of the record files' names and sizes, and of the first and last 64 kB of each."""
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
