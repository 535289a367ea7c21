"""Splits data by the hash of its content, so that equal documents are always in the same split."""

from __future__ import annotations

import hashlib


def is_held_out(content: bytes, share: float = 0.05) -> bool:
    """Returns whether a document belongs to the held-out split.

    The answer depends on the content alone: not on the order, the process or the machine.

    Args:
        content: The document's bytes.
        share: Fraction of all documents to hold out.

    Example:
        >>> sum(is_held_out(str(k).encode(), 0.2) for k in range(1000))
        212
    """
    number = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    return number < share * 2**64
