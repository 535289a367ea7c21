"""The dataset `template-plugin`: the help texts of Python, as bytes. Change it to yours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import scalax as sx

HELD_OUT_SHARE = 0.2


class Options(sx.Settings):
    """The dataset's own keys of ``[data]``. Any other key is an error."""

    seq_len: int = 64


@dataclass(frozen=True)
class Windows:
    """Examples by index: window i has the seq_len + 1 tokens from token i * seq_len on.

    Attributes:
        tokens: All tokens of a split [tokens], uint8.
        seq_len: Tokens to predict in a window.
    """

    tokens: np.ndarray
    seq_len: int

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.seq_len)

    def __getitem__(self, index: int) -> sx.Example:
        start = index * self.seq_len
        return {"tokens": self.tokens[start : start + self.seq_len + 1].astype(np.int32)}


@dataclass(frozen=True)
class Opened:
    """The opened dataset.

    Attributes:
        spec: Its unit, features and numbers of examples.
        splits: Its examples by split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Windows]

    def source(self, split: sx.Split) -> Windows:
        """Returns the examples of a split."""
        return self.splits[split]


class TemplatePlugin(sx.Dataset):
    """Some eighty articles of Python's own help, of which a fifth is held out."""

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "template-plugin"
    title: ClassVar[str] = "the help texts of Python, as bytes"
    # Keys of [data] that `scalax plugins check` opens the dataset with.
    trial: ClassVar[Mapping[str, Any]] = {"seq_len": 64}

    def open(self, name: str, options: Mapping[str, Any]) -> Opened:
        """Reads the texts. The hash of an article's content decides whether it is held out."""
        from pydoc_data.topics import topics

        parsed = sx.parse_settings(Options, options, where="data")
        parts: dict[sx.Split, list[bytes]] = {"train": [], "eval": []}
        for topic in sorted(topics):
            text = topics[topic].encode()
            parts["eval" if sx.is_held_out(text, HELD_OUT_SHARE) else "train"].append(text + b"\0")
        splits: dict[sx.Split, Windows] = {
            split: Windows(np.frombuffer(b"".join(texts), np.uint8), parsed.seq_len)
            for split, texts in parts.items()
        }
        content = hashlib.sha256(b"".join(b"".join(texts) for texts in parts.values()))
        spec = sx.DataSpec(
            name=name,
            unit="tokens",
            units_per_example=parsed.seq_len,
            features={"tokens": sx.Feature((parsed.seq_len + 1,), "int32")},
            classes=256,
            train_examples=len(splits["train"]),
            eval_examples=len(splits["eval"]),
            fingerprint=content.hexdigest()[:32],
        )
        return Opened(spec, splits)
