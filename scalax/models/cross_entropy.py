"""Next-token cross-entropy without ever holding the logits of a large vocabulary whole."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

CHUNK = 2**23
"""Maximum number of logits of one sequence in memory at a time: 32 MB in float32."""


def summed_cross_entropy(
    head: Callable[[jax.Array], jax.Array],
    x_BxLxD: jax.Array,
    targets_BxL: jax.Array,
    weight_B: jax.Array,
    vocab: int,
) -> jax.Array:
    """Summed negative log-likelihood in nats, in float32.

    Where a sequence has more logits than ``CHUNK``, they are computed for some positions at a
    time, and again in the backward pass; each example stays on the device that holds it.

    Args:
        head: From activations [B, l, D] to logits [B, l, V], for any l.
        x_BxLxD: Activations.
        targets_BxL: The tokens to predict.
        weight_B: Weight of each example.
        vocab: V.
    """

    def some(x: jax.Array, targets: jax.Array) -> jax.Array:
        logits = head(x).astype(jnp.float32)
        # A comparison, not a look-up: its derivative is no scatter, and it may be divided over V.
        chosen = targets[..., None] == jnp.arange(vocab)
        picked = jnp.sum(jnp.where(chosen, logits, 0), axis=-1)
        nats = jax.nn.logsumexp(logits, axis=-1) - picked
        return jnp.sum(nats * weight_B[:, None])

    length = targets_BxL.shape[1]
    chunks = _chunks(length, vocab)
    if chunks == 1:
        return some(x_BxLxD, targets_BxL)
    parts = tuple(
        jnp.moveaxis(a.reshape(a.shape[0], chunks, length // chunks, *a.shape[2:]), 1, 0)
        for a in (x_BxLxD, targets_BxL)
    )
    kept = jax.checkpoint(some)
    total, _ = jax.lax.scan(
        lambda total, part: (total + kept(*part), None), jnp.zeros((), jnp.float32), parts
    )
    return total


def _chunks(length: int, vocab: int) -> int:
    """The fewest equal parts of a sequence whose logits fit in ``CHUNK``; a part has a token."""
    least = math.ceil(length * vocab / CHUNK)
    return next((n for n in range(least, length) if length % n == 0), length) if least > 1 else 1
