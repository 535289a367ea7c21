"""Sums the loss and accuracy of predictions over labels: classes, words or bytes."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scalax.array_types import AnyArray, Float, Num, Shaped


def label_sums(
    logits: Num[AnyArray, "*examples classes"],
    labels: Num[AnyArray, "*examples"],
    weight: Shaped[AnyArray, "*examples"],
) -> tuple[dict[str, Float[jax.Array, ""]], Float[jax.Array, ""]]:
    """Returns the summed metrics of a classifier, in the form that `ModelFamily.sums` requires.

    Args:
        logits: Unnormalised log-probabilities, [..., classes]; a numpy or jax array.
        labels: Indices of the correct classes, [...].
        weight: Weight of each prediction, [...]; 0 excludes it, for example for padding.

    Returns:
        The weighted sums of ``loss`` (cross-entropy in nats), ``accuracy`` and ``error_rate``, and
        the total weight; float32.

    Example:
        >>> logits = jnp.array([[2.0, 2.0, 0.0], [0.0, 9.0, 0.0]])
        >>> sums, weight = label_sums(logits, jnp.array([0, 2]), jnp.array([1.0, 0.0]))
        >>> round(float(sums["loss"]), 4), float(weight)  # log(2 + exp(-2))
        (0.7586, 1.0)
    """
    scores, weights = jnp.asarray(logits, jnp.float32), jnp.asarray(weight, jnp.float32)
    # Comparing is better than indexing: the gradient needs no scatter, and the classes can be
    # sharded.
    chosen = labels[..., None] == jnp.arange(scores.shape[-1])
    nats = jax.nn.logsumexp(scores, axis=-1) - jnp.sum(jnp.where(chosen, scores, 0), axis=-1)
    correct = jnp.sum(weights * (jnp.argmax(scores, axis=-1) == labels))
    total = jnp.sum(weights)
    sums = {"loss": jnp.sum(weights * nats), "accuracy": correct, "error_rate": total - correct}
    return sums, total
