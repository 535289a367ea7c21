"""How answers among labels are scored, whatever gave their logits: classes, words or bytes."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def label_sums(
    logits: jax.Array, labels: jax.Array, weight: jax.Array
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Summed metrics, as `ModelFamily.sums` gives them.

    Args:
        logits: [..., classes].
        labels: The right class of each, [...].
        weight: Of each, [...]; 0 for what does not count, such as padding.

    Returns:
        Sums of ``loss`` (cross-entropy in nats), ``accuracy`` and ``error_rate``, and the weight
        that they are over; float32.

    Example:
        >>> logits = jnp.array([[2.0, 2.0, 0.0], [0.0, 9.0, 0.0]])
        >>> sums, weight = label_sums(logits, jnp.array([0, 2]), jnp.array([1.0, 0.0]))
        >>> round(float(sums["loss"]), 4), float(weight)  # log(2 + exp(-2))
        (0.7586, 1.0)
    """
    logits, weight = logits.astype(jnp.float32), weight.astype(jnp.float32)
    # A comparison, not a look-up: its derivative is no scatter, and it may be divided over classes.
    chosen = labels[..., None] == jnp.arange(logits.shape[-1])
    nats = jax.nn.logsumexp(logits, axis=-1) - jnp.sum(jnp.where(chosen, logits, 0), axis=-1)
    right = jnp.sum(weight * (jnp.argmax(logits, axis=-1) == labels))
    total = jnp.sum(weight)
    sums = {"loss": jnp.sum(weight * nats), "accuracy": right, "error_rate": total - right}
    return sums, total
