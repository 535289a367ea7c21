"""Loss spikes: a batch whose gradient norm is far outside its history is passed over.

The history is kept in the train state, inside the compiled step, so that what is skipped depends
on the run alone and survives a kill. Pure functions; nothing here decides that a run diverged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MEMORY = 0.98
"""Weight of the past in the running mean and variance: some 50 steps."""
WARMUP = 50
"""Steps before anything is skipped: the first gradients fall fast."""
LEAST_DEVIATION = 0.05
"""Of the log gradient norm: a very even history makes no spike of a ripple."""


class History(NamedTuple):
    """Of the log gradient norm, float32 scalars.

    Attributes:
        mean: Running mean.
        variance: Running variance.
        seen: Steps in them.
        skipped: Batches passed over.
    """

    mean: Any
    variance: Any
    seen: Any
    skipped: Any


def fresh() -> History:
    """No history."""
    return History(*(jnp.zeros((), jnp.float32) for _ in History._fields))


def judge(history: History, norm: Any, factor: float) -> tuple[Any, History]:
    """Whether a batch is to be skipped, and the history with it.

    A spike enters the history as the largest norm that would not have been skipped, so that a
    lasting rise is followed; a norm that is no number does not enter.

    Args:
        history: Of the steps before.
        norm: The batch's gradient norm.
        factor: Deviations above the mean of the log norm beyond which it is a spike.

    Example:
        >>> history = fresh()
        >>> for step in range(100):
        ...     _, history = judge(history, 1.0 + 0.1 * (step % 3), 6.0)
        >>> [bool(judge(history, norm, 6.0)[0]) for norm in (1.3, 5.0, float("inf"))]
        [False, True, True]
    """
    value = jnp.log(jnp.maximum(jnp.asarray(norm, jnp.float32), 1e-30))
    deviation = jnp.maximum(jnp.sqrt(history.variance), LEAST_DEVIATION)
    limit = history.mean + factor * deviation
    finite = jnp.isfinite(value)
    spike = ~finite | ((history.seen >= WARMUP) & (value > limit))
    counted = jnp.where(history.seen >= WARMUP, jnp.minimum(value, limit), value)
    weight = jnp.maximum(1 - MEMORY, 1 / (history.seen + 1))
    gap = counted - history.mean
    mean = history.mean + weight * gap
    variance = (1 - weight) * (history.variance + weight * gap * gap)
    after = History(mean, variance, history.seen + 1, history.skipped)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, history)
    return spike, kept._replace(skipped=history.skipped + spike)
