"""The train step and the eval step of one run, as pure functions.

`scalax.train.program` compiles them over a mesh, and over a leading axis of runs in an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from scalax.array_types import Float
from scalax.models.base import ModelFamily, checked_sums
from scalax.train import spikes
from scalax.train.schedule import Schedule, learning_rate


class TrainState(NamedTuple):
    """What a step changes and a checkpoint stores.

    Attributes:
        params: Float32 parameters, an ``nnx.State``.
        rest: Other variables of the module, such as running statistics, an ``nnx.State``.
        optimizer: State of the Optax transformation.
        step: Steps completed, int32.
        history: History of the gradient norm if spikes are skipped; otherwise empty.
    """

    params: Any
    rest: Any
    optimizer: Any
    step: Any
    history: Any = ()


def train_step(
    family: ModelFamily,
    graph: Any,
    optimizer: optax.GradientTransformation,
    accumulate: int,
    skip_spikes: float | None,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    schedule: Schedule,
) -> tuple[TrainState, dict[str, Float[jax.Array, ""]]]:
    """Takes one optimiser step.

    Args:
        family: The model family.
        graph: The module's ``nnx`` graph definition.
        optimizer: Optax transformation without its learning rate.
        accumulate: Number of equal parts in which the batch is computed.
        skip_spikes: Deviations of the log gradient norm above which a batch is skipped, or None.
        state: The current state.
        batch: Features ``[batch, ...]``.
        schedule: Values of `scalax.train.schedule.schedule_values`.

    Returns:
        The next state, and the metrics ``loss``, ``grad_norm``, ``learning_rate`` and, where spikes
        are skipped, ``skipped``.
    """
    loss, gradient, rest = _mean_gradient(family, graph, accumulate, state, batch)
    updates, moments = optimizer.update(gradient, state.optimizer, state.params)
    rate = learning_rate(schedule, state.step)
    params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(gradient), "learning_rate": rate}
    after = TrainState(params, rest, moments, state.step + 1, state.history)
    if skip_spikes is None:
        return after, metrics
    is_spike, history = spikes.judge(state.history, metrics["grad_norm"], skip_spikes)
    after = jax.tree.map(lambda new, old: jnp.where(is_spike, old, new), after, state)
    metrics["skipped"] = history.skipped
    return after._replace(step=state.step + 1, history=history), metrics


def eval_step(
    family: ModelFamily, graph: Any, params: Any, rest: Any, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, Float[jax.Array, ""]], Float[jax.Array, ""]]:
    """Returns the sums of a batch's metrics, and the weight to divide them by."""
    module = nnx.merge(graph, params, rest)
    module.eval()
    return checked_sums(family, module, batch)


def _mean_gradient(
    family: ModelFamily,
    graph: Any,
    accumulate: int,
    state: TrainState,
    batch: Mapping[str, jax.Array],
) -> tuple[Float[jax.Array, ""], Any, Any]:
    """Returns the mean loss of a batch, its gradient, and the module's other variables."""

    def summed_loss(params: Any, rest: Any, part: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        module = nnx.merge(graph, params, rest)
        sums, weight = checked_sums(family, module, part)
        return sums["loss"], (weight, nnx.state(module, nnx.Not(nnx.Param)))

    def part_gradient(rest: Any, part: Any) -> tuple[Any, Any]:
        (total, (weight, rest)), gradient = jax.value_and_grad(summed_loss, has_aux=True)(
            state.params, rest, part
        )
        return rest, (total, weight, gradient)

    if accumulate == 1:
        rest, sums = part_gradient(state.rest, batch)
    else:

        def add_part(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], None]:
            rest, sums = part_gradient(carry[0], part)
            return (rest, jax.tree.map(jnp.add, carry[1], sums)), None

        zero = jnp.zeros((), jnp.float32)
        zeros = (zero, zero, jax.tree.map(jnp.zeros_like, state.params))
        (rest, sums), _ = jax.lax.scan(add_part, (state.rest, zeros), _split(batch, accumulate))
    total, weight, gradient = sums
    return total / weight, jax.tree.map(lambda g: g / weight, gradient), rest


def _split(batch: Mapping[str, jax.Array], parts: int) -> dict[str, jax.Array]:
    """Splits a batch into [parts, batch / parts, ...]; each example stays on its device."""
    return {
        name: jnp.swapaxes(leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:]), 0, 1)
        for name, leaf in batch.items()
    }
