"""The `tfds:wmt*_translate/PAIR` datasets: translated sentences, read through TensorFlow Datasets.

Read from array_record files, which needs no TensorFlow; it never downloads or prepares. An entry
point names a set by year and pair: ``wmt14_de_en`` is ``tfds:wmt14_translate/de-en``.
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
    """The pairs of one TFDS split, encoded when read.

    Args:
        source: What the builder's ``as_data_source`` gave: a text for each of two languages.
        pair: The language to translate from, and the one to translate to.
        length: Bytes of a sentence that are kept, its first.
    """

    def __init__(self, source: Any, pair: tuple[str, str], length: int) -> None:
        self._source, self._pair, self._length = source, pair, length

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> sx.Example:
        found, (one, other) = self._source[index], self._pair
        return {
            "source": encode(bytes(found[one]), self._length, tag=BYTES),
            "target": encode(bytes(found[other]), self._length, end=True),
        }


@dataclass(frozen=True)
class OpenWmt:
    """The prepared set.

    Attributes:
        spec: What it holds.
        builder: Its TFDS builder.
        pair: The language to translate from, and the one to translate to.
        length: Numbers in a sentence.
    """

    spec: sx.DataSpec
    builder: Any
    pair: tuple[str, str]
    length: int

    def source(self, split: sx.Split) -> Sentences:
        """The pairs of a split: TFDS's ``train``, or its ``validation`` for ``eval``."""
        source = self.builder.as_data_source(split=_SPLITS[split])
        return Sentences(source, self.pair, self.length)


class Wmt(sx.Dataset):
    """One pair of languages of one year of WMT's translation task (www.statmt.org).

    Options of ``[data]``: ``to``, the language to translate to (the second of the pair's name),
    ``seq_len`` (256; longer sentences are cut), and ``data_dir``, where TFDS keeps its sets. Each
    set is a subclass of this one that has its name.
    """

    interface: ClassVar[int] = 1
    title: ClassVar[str] = "translated sentences, from TensorFlow Datasets"

    def open(self, name: str, options: Mapping[str, Any]) -> OpenWmt:
        """Finds the prepared set; see `Dataset.open`."""
        parsed = sx.parse_settings(_Options, options, where="data")
        year = self.name.removeprefix("tfds:").partition("_")[0]
        importlib.import_module(f"tensorflow_datasets.translate.{year}")  # makes TFDS know it
        languages = self.name.rpartition("/")[2].split("-")
        to = parsed.to if parsed.to is not None else languages[1]
        if to not in languages:
            raise sx.ScalaxError(
                f"expected {' or '.join(languages)}, got {to!r}", where="data.to", fix="name one"
            )
        (one,) = set(languages) - {to}
        builder = sx.open_tfds(name, parsed.data_dir)
        info, length = builder.info, parsed.seq_len
        identity = [info.full_name, info.dataset_size, one, to, length]
        spec = sx.DataSpec(
            name=name,
            unit="examples",
            units_per_example=1,
            features={part: sx.Feature((length,), "int32") for part in ("source", "target")},
            classes=BYTES + 1,  # the tag that a source begins with
            train_examples=info.splits[_SPLITS["train"]].num_examples,
            eval_examples=info.splits[_SPLITS["eval"]].num_examples,
            fingerprint=hashlib.sha256(repr(identity).encode()).hexdigest()[:32],
        )
        return OpenWmt(spec, builder, (one, to), length)


def __getattr__(attribute: str) -> type[Wmt]:
    found = re.fullmatch(r"(wmt\d\d)_([a-z]+)_([a-z]+)", attribute)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    year, one, other = found.groups()
    return type(attribute, (Wmt,), {"name": f"tfds:{year}_translate/{one}-{other}"})
