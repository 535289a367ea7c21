"""Skips batches whose gradient norm is far above its history (loss spikes).

The history is part of the train state, inside the compiled step, so that the skipped batches depend
on the run alone and survive a kill. Pure functions; nothing here decides that a run diverged.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MEMORY = 0.98
"""Weight of the past in the running mean and variance: about 50 steps."""
WARMUP = 50
"""Steps before the first batch may be skipped: gradients fall fast at first."""
LEAST_DEVIATION = 0.05
"""Lower bound of the deviation of the log gradient norm, so that a very even history does not turn
a small change into a spike."""


class History(NamedTuple):
    """History of the log gradient norm, float32 scalars.

    Attributes:
        mean: Running mean.
        variance: Running variance.
        seen: Number of steps in them.
        skipped: Number of skipped batches.
    """

    mean: Any
    variance: Any
    seen: Any
    skipped: Any


def empty_history() -> History:
    """Returns a history without steps."""
    return History(*(jnp.zeros((), jnp.float32) for _ in History._fields))


def judge(history: History, norm: Any, factor: float) -> tuple[Any, History]:
    """Returns whether to skip a batch, and the history after it.

    A spike enters the history as the largest norm that would not have been skipped, so that a
    lasting rise is followed. A norm that is not finite does not enter.

    Args:
        history: History of the previous steps.
        norm: The batch's gradient norm.
        factor: A spike exceeds the mean log norm by more than this number of deviations.

    Example:
        >>> history = empty_history()
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
    updated = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, history)
    return spike, updated._replace(skipped=history.skipped + spike)
