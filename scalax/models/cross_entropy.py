"""Computes next-token cross-entropy without storing all logits of a large vocabulary at once.

Letters in names are dimensions: B batch, L positions, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from scalax.array_types import AnyArray, Float, Num, Shaped

CHUNK = 2**23
"""Maximum number of logits of one sequence in memory at a time: 32 MB in float32."""


def summed_cross_entropy(
    head: Callable[[jax.Array], jax.Array],
    x_BxLxD: Float[AnyArray, "B L D"],
    targets_BxL: Num[AnyArray, "B L"],
    weight_B: Shaped[AnyArray, " B"],
    vocab: int,
) -> Float[jax.Array, ""]:
    """Returns the weighted sum of negative log-likelihoods in nats, float32.

    A sequence with more than `CHUNK` logits is processed in chunks of positions, and the backward
    pass computes the logits again. Each example stays on its device.

    Args:
        head: Maps activations [B, l, D] to logits [B, l, V], for any l.
        x_BxLxD: Activations.
        targets_BxL: Tokens to predict.
        weight_B: Weight of each example; 0 excludes it.
        vocab: Size of the vocabulary, V.
    """
    x_BxLxD, targets_BxL, weight_B = map(jnp.asarray, (x_BxLxD, targets_BxL, weight_B))

    def chunk_sum(
        x: Float[jax.Array, "B l D"], targets: Num[jax.Array, "B l"]
    ) -> Float[jax.Array, ""]:
        logits = head(x).astype(jnp.float32)
        # Comparing is better than indexing: the gradient needs no scatter, and V can be sharded.
        chosen = targets[..., None] == jnp.arange(vocab)
        picked = jnp.sum(jnp.where(chosen, logits, 0), axis=-1)
        nats = jax.nn.logsumexp(logits, axis=-1) - picked
        return jnp.sum(nats * weight_B[:, None])

    length = targets_BxL.shape[1]
    chunks = _chunks(length, vocab)
    if chunks == 1:
        return chunk_sum(x_BxLxD, targets_BxL)
    parts = tuple(
        jnp.moveaxis(a.reshape(a.shape[0], chunks, length // chunks, *a.shape[2:]), 1, 0)
        for a in (x_BxLxD, targets_BxL)
    )
    recomputed_sum = jax.checkpoint(chunk_sum)
    total, _ = jax.lax.scan(
        lambda total, part: (total + recomputed_sum(*part), None),
        jnp.zeros((), jnp.float32),
        parts,
    )
    return total


def _chunks(length: int, vocab: int) -> int:
    """Returns the smallest number of equal chunks whose logits fit in `CHUNK`, at most `length`."""
    minimum = math.ceil(length * vocab / CHUNK)
    if minimum <= 1:
        return 1
    return next((n for n in range(minimum, length) if length % n == 0), length)
