"""Converts nats per token to bits per byte, to compare losses under different tokenisers."""

from __future__ import annotations

import math

import numpy as np

from scalax.errors import ScalaxError
from scalax.laws.base import Array


def bits_per_byte(loss: Array, bytes_per_token: Array) -> Array:
    """Returns the cross-entropy in bits per byte of text.

    Args:
        loss: Loss in nats per token.
        bytes_per_token: Mean bytes of UTF-8 text per token of the held-out data.

    Returns:
        loss / (bytes_per_token ln 2).

    Raises:
        ScalaxError: The bytes are not positive.

    Example:
        >>> round(float(bits_per_byte(2.0, 4.0)), 4)
        0.7213
    """
    size = _positive(bytes_per_token)
    return np.asarray(loss) / (size * math.log(2))


def nats_per_token(bits: Array, bytes_per_token: Array) -> Array:
    """Returns the loss in nats per token that equals a number of bits per byte.

    Args:
        bits: Bits per byte.
        bytes_per_token: As in `bits_per_byte`.

    Raises:
        ScalaxError: The bytes are not positive.

    Example:
        >>> round(float(nats_per_token(bits_per_byte(2.0, 4.0), 4.0)), 9)
        2.0
    """
    return np.asarray(bits) * _positive(bytes_per_token) * math.log(2)


def _positive(bytes_per_token: Array) -> Array:
    size = np.asarray(bytes_per_token, dtype=float)
    if not np.all(np.isfinite(size) & (size > 0)):
        raise ScalaxError(
            f"expected a positive number, got {bytes_per_token}",
            where="bytes_per_token",
            fix="divide the bytes of the held-out text by its tokens; English BPE has about 4",
        )
    return size
