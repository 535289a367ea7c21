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
    """The dataset's own keys of ``[data]``: any key not named here is refused."""

    seq_len: int = 64


@dataclass(frozen=True)
class Windows:
    """Examples by index: window i begins at token i * seq_len, and holds the token after it too.

    Attributes:
        tokens: All tokens of a split, uint8.
        seq_len: Tokens in a window.
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
    """The dataset, read.

    Attributes:
        spec: What it holds.
        splits: Its examples by split.
    """

    spec: sx.DataSpec
    splits: Mapping[sx.Split, Windows]

    def source(self, split: sx.Split) -> Windows:
        """The examples of a split."""
        return self.splits[split]


class TemplatePlugin(sx.Dataset):
    """Some eighty articles of Python's own help, a fifth of them held out."""

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "template-plugin"
    title: ClassVar[str] = "the help texts of Python, as bytes"
    # The keys of [data] that `scalax plugins check` opens it with.
    trial: ClassVar[Mapping[str, Any]] = {"seq_len": 64}

    def open(self, name: str, options: Mapping[str, Any]) -> Opened:
        """Reads the texts; an article is held out by the hash of its content."""
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
