"""Encodes text as its UTF-8 bytes, as ByT5 does (Xue et al. 2022, arXiv:2105.13626)."""

from __future__ import annotations

import numpy as np

PAD, END = 0, 1
_FIRST_BYTE = 2
BYTES = 256 + _FIRST_BYTE
"""Count of numbers for padding, end of text and bytes; datasets append their own numbers."""


def encode(text: bytes, length: int, *, end: bool = False, tag: int | None = None) -> np.ndarray:
    """Encodes a text, padded with `PAD` or cut to a length.

    Args:
        text: UTF-8 bytes.
        length: Length of the result.
        end: Whether to append `END`, if it fits.
        tag: A number to put first, such as the tag of the language to translate to.

    Returns:
        Int32 [length].

    Example:
        >>> encode(b"ab", 5, end=True, tag=300).tolist()
        [300, 99, 100, 1, 0]
    """
    numbers = [] if tag is None else [tag]
    numbers += [byte + _FIRST_BYTE for byte in text[:length]]
    numbers += [END] if end else []
    row = np.full(length, PAD, np.int32)
    row[: len(numbers)] = numbers[:length]
    return row


def decode(numbers: np.ndarray) -> str:
    """Decodes a text up to its end; numbers that are not bytes are skipped.

    Example:
        >>> decode(encode("Zürich".encode(), 9, end=True))
        'Zürich'
    """
    ends = np.flatnonzero(numbers == END)
    text = numbers[: ends[0]] if len(ends) else numbers
    text = text[(text >= _FIRST_BYTE) & (text < BYTES)]
    return bytes((text - _FIRST_BYTE).tolist()).decode("utf-8", errors="replace")
