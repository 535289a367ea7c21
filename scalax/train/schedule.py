"""Learning rate schedules: warm-up, then constant, cosine, or stable and linear decay."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from scalax.train.settings import TrainSpec

Schedule = dict[str, Any]
SCHEDULE = ("peak", "warmup", "decay_start", "steps", "cosine")
"""Names of the values of a schedule."""


def schedule_values(spec: TrainSpec) -> Schedule:
    """Returns the arguments of `learning_rate` as arrays.

    A branch differs from its trunk in these values only, so that one compiled step serves both.
    """
    cosine = spec.schedule == "cosine"
    decay_start = spec.warmup_steps if cosine else spec.decay_start
    return {
        "peak": np.float32(spec.recipe.learning_rate),
        "warmup": np.float32(spec.warmup_steps),
        "decay_start": np.float32(decay_start),
        "steps": np.float32(spec.steps),
        "cosine": np.float32(cosine),
    }


def learning_rate(schedule: Schedule, step: Any) -> Any:
    """Returns the learning rate of a step, counted from 0.

    Linear warm-up reaches the peak at step ``warmup``. From ``decay_start`` to the end, the rate
    falls to zero linearly (Haegele et al. 2024, arXiv:2405.18392) or to a tenth of the peak
    along a half cosine (Hoffmann et al. 2022, section 3).
    """
    step = jnp.asarray(step, jnp.float32)
    warm = jnp.minimum(1.0, (step + 1) / jnp.maximum(schedule["warmup"], 1.0))
    length = jnp.maximum(schedule["steps"] - schedule["decay_start"], 1.0)
    progress = jnp.clip((step - schedule["decay_start"]) / length, 0.0, 1.0)
    half_cosine = 0.1 + 0.9 * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    decay = jnp.where(schedule["cosine"] > 0, half_cosine, 1 - progress)
    return schedule["peak"] * warm * decay
