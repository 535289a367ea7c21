"""Text as numbers: the bytes of its UTF-8, as ByT5 (Xue et al. 2022, arXiv:2105.13626) reads it."""

from __future__ import annotations

import numpy as np

PAD, END = 0, 1
_FIRST_BYTE = 2
BYTES = 256 + _FIRST_BYTE
"""Numbers that padding, the end of a text and bytes take; what a dataset adds comes after."""


def encode(text: bytes, length: int, *, end: bool = False, tag: int | None = None) -> np.ndarray:
    """Numbers of a text, filled up with `PAD` or cut to a length.

    Args:
        text: UTF-8.
        length: Of the result.
        end: Whether `END` follows, where it fits.
        tag: A number to begin with, such as that of the language to translate to.

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
    """The text up to its end; numbers that are no byte are left out.

    Example:
        >>> decode(encode("Zürich".encode(), 9, end=True))
        'Zürich'
    """
    ends = np.flatnonzero(numbers == END)
    kept = numbers[: ends[0]] if len(ends) else numbers
    kept = kept[(kept >= _FIRST_BYTE) & (kept < BYTES)]
    return bytes((kept - _FIRST_BYTE).tolist()).decode("utf-8", errors="replace")
