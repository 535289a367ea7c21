"""The datasets `catalogues`, for translation, and `languages`, for classification of messages."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
from pydantic import Field

import scalax as sx
from scalax_text.catalogues import Message, read_messages, split
from scalax_text.encoding import BYTES, encode

_PACKAGES = ("Django", "django-allauth", "humanize")


class _Options(sx.Settings):
    packages: list[str] = Field(list(_PACKAGES), min_length=1)
    folders: list[str] | None = Field(None, min_length=1)
    locales: list[str] | None = Field(None, min_length=1)
    min_messages: int = Field(100, ge=1)
    seq_len: int = Field(48, ge=2)


@dataclass(frozen=True)
class Examples:
    """Examples in memory.

    Attributes:
        columns: One array per feature, [examples, ...].
    """

    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> sx.Example:
        return {name: column[index] for name, column in self.columns.items()}


@dataclass(frozen=True)
class OpenMessages:
    """An opened dataset of messages.

    Attributes:
        spec: Features and sizes.
        splits: Examples of each split.
        names: Locales in the order of their tags, or languages in the order of their labels.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Examples]
    names: tuple[str, ...]

    def source(self, split: sx.Split) -> Examples:
        """Returns the examples of a split."""
        return self.splits[split]


class Catalogues(sx.Dataset):
    """Messages of programs and their translations to every available locale.

    ``source`` [seq_len] starts with the tag of the target locale, as in Johnson et al. 2017
    (arXiv:1611.04558); ``target`` [seq_len] ends with an end mark. Pairs that do not fit are left
    out. Training data is counted in examples, which are pairs of a source and one translation.

    Options of ``[data]``: ``packages`` to read (Django, django-allauth and humanize), ``folders``
    to read in place of packages, ``locales`` (all by default), ``min_messages``, the messages that
    a locale must have (100), and ``seq_len`` in bytes (48).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "catalogues"
    title: ClassVar[str] = "translated messages of installed packages, to some 90 languages"
    trial: ClassVar[Mapping[str, Any]] = {"packages": ["humanize"], "min_messages": 20}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenMessages:
        """Reads the catalogues; see `Dataset.open`."""
        parsed, messages = _read(name, options)
        length = parsed.seq_len
        locales = tuple(sorted({m.locale for part in messages.values() for m in part}))
        tags = {locale: BYTES + k for k, locale in enumerate(locales)}

        def pairs(part: list[Message]) -> Examples:
            texts = [(m.locale, m.source.encode(), m.target.encode()) for m in part]
            fits = [t for t in texts if max(len(t[1]), len(t[2])) < length]  # room for tag and end
            source = [encode(text, length, tag=tags[locale]) for locale, text, _ in fits]
            target = [encode(text, length, end=True) for _, _, text in fits]
            shape = (-1, length)
            return Examples(
                {
                    "source": np.array(source, np.int32).reshape(shape),
                    "target": np.array(target, np.int32).reshape(shape),
                }
            )

        splits = {side: pairs(part) for side, part in messages.items()}
        return _opened(name, splits, locales, classes=BYTES + len(locales))


class Languages(sx.Dataset):
    """Messages labelled with the language that they are written in.

    ``text`` [seq_len] is the translation, cut to ``seq_len`` bytes. ``label`` is its language; the
    countries and scripts of one language share a label. The options are those of `Catalogues`.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "languages"
    title: ClassVar[str] = "which of some 90 languages a message is in, from installed packages"
    trial: ClassVar[Mapping[str, Any]] = {"packages": ["humanize"], "min_messages": 20}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenMessages:
        """Reads the catalogues; see `Dataset.open`."""
        parsed, messages = _read(name, options)
        languages = tuple(sorted({m.language for part in messages.values() for m in part}))
        labels = {language: label for label, language in enumerate(languages)}
        distinct: dict[sx.Split, dict[tuple[bytes, int], None]] = {}
        for side, part in messages.items():
            texts = (m.target.encode()[: parsed.seq_len] for m in part)
            labelled = zip(texts, (labels[m.language] for m in part), strict=True)
            distinct[side] = dict.fromkeys(labelled)
        held_out = {text for text, _ in distinct["eval"]}  # different texts may be equal once cut
        distinct["train"] = {pair: None for pair in distinct["train"] if pair[0] not in held_out}
        splits: dict[sx.Split, Examples] = {}
        for side, examples in distinct.items():
            text = [encode(text, parsed.seq_len) for text, _ in examples]
            splits[side] = Examples(
                {
                    "text": np.array(text, np.int32).reshape(-1, parsed.seq_len),
                    "label": np.array([label for _, label in examples], np.int32),
                }
            )
        return _opened(name, splits, languages, classes=len(languages))


def _read(name: str, options: Mapping[str, Any]) -> tuple[_Options, dict[sx.Split, list[Message]]]:
    """Reads the options and the messages of the chosen locales, split."""
    parsed = sx.parse_settings(_Options, options, where="data")
    messages = read_messages(parsed.packages, parsed.folders, where=f"data {name!r}")
    counts = Counter(message.locale for message in messages)
    requested = parsed.locales if parsed.locales is not None else list(counts)
    if unknown := sorted(set(requested) - set(counts)):
        raise sx.ScalaxError(
            f"no message in {', '.join(unknown)}",
            where="data.locales",
            fix=f"choose among {', '.join(sorted(counts))}",
        )
    chosen = {locale for locale in requested if counts[locale] >= parsed.min_messages}
    if not chosen:
        raise sx.ScalaxError(
            f"no locale has {parsed.min_messages} messages: the largest has "
            f"{max(counts[locale] for locale in requested):,}",
            where="data.min_messages",
            fix="give a smaller number, or more packages",
        )
    return parsed, split(message for message in messages if message.locale in chosen)


def _opened(
    name: str, splits: Mapping[sx.Split, Examples], names: tuple[str, ...], *, classes: int
) -> OpenMessages:
    digest = hashlib.sha256("\n".join(names).encode())
    for side in get_args(sx.Split):
        if not len(splits[side]):
            raise sx.ScalaxError(
                f"no message of split {side!r} is short enough",
                where=f"data {name!r}",
                fix="give more packages, or a larger seq_len",
            )
        for feature, column in sorted(splits[side].columns.items()):
            digest.update(feature.encode() + column.tobytes())
    columns = splits["train"].columns
    spec = sx.DataSpec(
        name=name,
        unit="examples",
        units_per_example=1,
        features={key: sx.Feature(value.shape[1:], "int32") for key, value in columns.items()},
        classes=classes,
        train_examples=len(splits["train"]),
        eval_examples=len(splits["eval"]),
        fingerprint=digest.hexdigest()[:32],
    )
    return OpenMessages(spec, splits, names)
