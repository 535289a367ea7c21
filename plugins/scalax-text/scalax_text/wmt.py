"""The `tfds:wmt*_translate/PAIR` datasets: translated sentences.

They read array_record files through TensorFlow Datasets, which needs no TensorFlow. They never
download or prepare a set. An entry point names a set by year and pair: ``wmt14_de_en`` is
``tfds:wmt14_translate/de-en``.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

import scalax as sx
from scalax_text.encoding import BYTES, encode

_SPLITS: Mapping[sx.Split, str] = {"train": "train", "eval": "validation"}


class _Options(sx.Settings):
    to: str | None = None
    seq_len: int = Field(256, ge=2)
    data_dir: str | None = None


class Sentences:
    """The pairs of one TFDS split, encoded when they are read.

    Args:
        source: The builder's data source, with one text per language.
        pair: The language to translate from, and the language to translate to.
        length: Numbers to keep from the start of a sentence.
    """

    def __init__(self, source: Any, pair: tuple[str, str], length: int) -> None:
        self._source, self._pair, self._length = source, pair, length

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        sentence, (source, target) = self._source[index], self._pair
        return {
            "source": encode(bytes(sentence[source]), self._length, tag=BYTES),
            "target": encode(bytes(sentence[target]), self._length, end=True),
        }


@dataclass(frozen=True)
class OpenWmt:
    """The prepared set.

    Attributes:
        spec: Features and sizes.
        builder: The set's TFDS builder.
        pair: The language to translate from, and the language to translate to.
        length: Numbers in a sentence.
    """

    spec: sx.DataSpec
    builder: Any
    pair: tuple[str, str]
    length: int

    def source(self, split: sx.Split) -> Sentences:
        """Returns the pairs of a split: TFDS's ``train``, or its ``validation`` for ``eval``."""
        source = self.builder.as_data_source(split=_SPLITS[split])
        return Sentences(source, self.pair, self.length)


class Wmt(sx.Dataset):
    """One pair of languages of one year of WMT's translation task (www.statmt.org).

    Options of ``[data]``: ``to``, the language to translate to (by default the second in the name),
    ``seq_len`` (256; longer sentences are cut), and ``data_dir``, the folder of TFDS's sets. Each
    set is a subclass with its own name.
    """

    interface: ClassVar[int] = 1
    title: ClassVar[str] = "translated sentences, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenWmt:
        """Opens the prepared set; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        year = self.name.removeprefix("tfds:").partition("_")[0]
        importlib.import_module(f"tensorflow_datasets.translate.{year}")  # registers it with TFDS
        languages = self.name.rpartition("/")[2].split("-")
        to = parsed.to if parsed.to is not None else languages[1]
        if to not in languages:
            raise sx.ScalaxError(
                f"unknown language {to!r} (expected {' or '.join(languages)})",
                where="data.to",
                fix=f"write {languages[0]!r} or {languages[1]!r}",
            )
        (source,) = set(languages) - {to}
        builder = sx.open_tfds(name, parsed.data_dir)
        info, length = builder.info, parsed.seq_len
        identity = [info.full_name, info.dataset_size, source, to, length]
        spec = sx.DataSpec(
            name=name,
            unit="examples",
            units_per_example=1,
            features={part: sx.Feature((length,), "int32") for part in ("source", "target")},
            classes=BYTES + 1,  # bytes, and the tag that a source starts with
            train_examples=info.splits[_SPLITS["train"]].num_examples,
            eval_examples=info.splits[_SPLITS["eval"]].num_examples,
            fingerprint=hashlib.sha256(repr(identity).encode()).hexdigest()[:32],
        )
        return OpenWmt(spec, builder, (source, to), length)


def __getattr__(attribute: str) -> type[Wmt]:
    match = re.fullmatch(r"(wmt\d\d)_([a-z]+)_([a-z]+)", attribute)
    if match is None:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    year, first, second = match.groups()
    return type(attribute, (Wmt,), {"name": f"tfds:{year}_translate/{first}-{second}"})
