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
        columns: An array for each feature, [examples, ...].
    """

    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> sx.Example:
        return {name: column[index] for name, column in self.columns.items()}


@dataclass(frozen=True)
class OpenMessages:
    """Messages, opened.

    Attributes:
        spec: What they are.
        splits: Their examples.
        names: The locales whose tags follow the bytes, or the languages by label.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Examples]
    names: tuple[str, ...]

    def source(self, split: sx.Split) -> Examples:
        """The examples of a split."""
        return self.splits[split]


class Catalogues(sx.Dataset):
    """Translations of programs' messages, to every language that has them.

    ``source`` [seq_len] begins with the tag of the locale to translate to, as Johnson et al. 2017
    (arXiv:1611.04558) do; ``target`` [seq_len] ends with an end. Pairs that do not fit are left
    out. Training data is counted in examples: pairs of a source and one translation.

    Options: ``packages`` to read (Django, django-allauth and humanize), ``folders`` to read
    instead, ``locales`` (all by default), ``min_messages`` that a locale must have (100), and
    ``seq_len`` in bytes (48).
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "catalogues"
    title: ClassVar[str] = "translated messages of installed packages, to some 90 languages"
    trial: ClassVar[Mapping[str, Any]] = {"packages": ["humanize"], "min_messages": 20}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenMessages:
        """Reads the catalogues; see `Dataset.open`."""
        parsed, sides = _read(name, options)
        length = parsed.seq_len
        locales = tuple(sorted({m.locale for side in sides.values() for m in side}))
        tags = {locale: BYTES + k for k, locale in enumerate(locales)}

        def pairs(messages: list[Message]) -> Examples:
            texts = [(m.locale, m.source.encode(), m.target.encode()) for m in messages]
            kept = [t for t in texts if max(len(t[1]), len(t[2])) < length]  # room for tag and end
            source = [encode(one, length, tag=tags[locale]) for locale, one, _ in kept]
            target = [encode(two, length, end=True) for _, _, two in kept]
            shape = (-1, length)
            return Examples(
                {
                    "source": np.array(source, np.int32).reshape(shape),
                    "target": np.array(target, np.int32).reshape(shape),
                }
            )

        splits = {side: pairs(messages) for side, messages in sides.items()}
        return _opened(name, splits, locales, classes=BYTES + len(locales))


class Languages(sx.Dataset):
    """Which language a message is written in.

    ``text`` [seq_len] is the translation, cut to so many bytes; ``label`` its language, countries
    and scripts taken together. Options: as those of `Catalogues`.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "languages"
    title: ClassVar[str] = "which of some 90 languages a message is in, from installed packages"
    trial: ClassVar[Mapping[str, Any]] = {"packages": ["humanize"], "min_messages": 20}

    def open(self, name: str, options: Mapping[str, Any]) -> OpenMessages:
        """Reads the catalogues; see `Dataset.open`."""
        parsed, sides = _read(name, options)
        languages = tuple(sorted({m.language for side in sides.values() for m in side}))
        labels = {language: label for label, language in enumerate(languages)}
        found: dict[sx.Split, dict[tuple[bytes, int], None]] = {}
        for side, messages in sides.items():
            rows = (m.target.encode()[: parsed.seq_len] for m in messages)
            texts = zip(rows, (labels[m.language] for m in messages), strict=True)
            found[side] = dict.fromkeys(texts)  # each once
        known = {text for text, _ in found["eval"]}  # two texts may be one when they are cut
        found["train"] = {one: None for one in found["train"] if one[0] not in known}
        splits: dict[sx.Split, Examples] = {}
        for side, examples in found.items():
            text = [encode(text, parsed.seq_len) for text, _ in examples]
            splits[side] = Examples(
                {
                    "text": np.array(text, np.int32).reshape(-1, parsed.seq_len),
                    "label": np.array([label for _, label in examples], np.int32),
                }
            )
        return _opened(name, splits, languages, classes=len(languages))


def _read(name: str, options: Mapping[str, Any]) -> tuple[_Options, dict[sx.Split, list[Message]]]:
    """The messages of the locales asked for, split."""
    parsed = sx.parse_settings(_Options, options, where="data")
    messages = read_messages(parsed.packages, parsed.folders, where=f"data {name!r}")
    counts = Counter(message.locale for message in messages)
    wanted = parsed.locales if parsed.locales is not None else list(counts)
    if unknown := sorted(set(wanted) - set(counts)):
        raise sx.ScalaxError(
            f"no message in {', '.join(unknown)}",
            where="data.locales",
            fix=f"choose among {', '.join(sorted(counts))}",
        )
    kept = {locale for locale in wanted if counts[locale] >= parsed.min_messages}
    if not kept:
        raise sx.ScalaxError(
            f"no locale has {parsed.min_messages} messages: the largest has "
            f"{max(counts[locale] for locale in wanted):,}",
            where="data.min_messages",
            fix="give a smaller one, or more packages",
        )
    return parsed, split(message for message in messages if message.locale in kept)


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
