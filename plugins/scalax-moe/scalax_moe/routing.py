"""Top-k routing of tokens to experts with a limited number of slots.

Each sequence is routed on its own, so routing does not depend on other examples, on the batch size
or on the mesh. Letters in names are dimensions: B batch, L tokens, E experts, C slots of an expert,
K experts of a token, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Routes(NamedTuple):
    """The slots that the tokens of a batch are sent to.

    Attributes:
        choice_BxEC: The choice in each slot: l K + k for choice k of token l, or LK if the slot is
            empty; int32.
        slot_BxLK: The slot of each choice, or EC if the choice is dropped; int32.
        gate_BxLxK: Weight of each choice's result.
        chosen_BxE: Fraction of choices that name each expert, dropped ones included.
        prob_BxE: Mean probability of each expert.
        dropped_B: Fraction of choices that are dropped.
    """

    choice_BxEC: jax.Array
    slot_BxLK: jax.Array
    gate_BxLxK: jax.Array
    chosen_BxE: jax.Array
    prob_BxE: jax.Array
    dropped_B: jax.Array

    @property
    def top_k(self) -> int:
        """Number of experts that each token is sent to."""
        return self.gate_BxLxK.shape[-1]


def route(logits_BxLxE: jax.Array, top_k: int, slots: int) -> Routes:
    """Sends each token to its ``top_k`` most likely experts while these have free slots.

    Slots are assigned in the order of the tokens, so a position depends only on earlier ones. With
    one choice the gate is its probability (Fedus et al. 2022, arXiv:2101.03961, equation 2). With
    more, the gates are normalised over the choices (Jiang et al. 2024, arXiv:2401.04088, section
    2.1).

    Args:
        logits_BxLxE: The router's logits, float32.
        top_k: Experts that each token is sent to, K.
        slots: Most tokens of a sequence that each expert takes, C.
    """
    batch, length, experts = logits_BxLxE.shape
    probs_BxLxE = jax.nn.softmax(logits_BxLxE, axis=-1)
    gate_BxLxK, expert_BxLxK = jax.lax.top_k(probs_BxLxE, top_k)
    if top_k > 1:
        gate_BxLxK = gate_BxLxK / jnp.sum(gate_BxLxK, axis=-1, keepdims=True)

    is_chosen_BxLxKxE = expert_BxLxK[..., None] == jnp.arange(experts)
    queue_BxLKxE = is_chosen_BxLxKxE.reshape(batch, length * top_k, experts).astype(jnp.int32)
    ahead_BxLKxE = jnp.cumsum(queue_BxLKxE, axis=1) - queue_BxLKxE
    ahead_BxLxK = jnp.sum(ahead_BxLKxE * queue_BxLKxE, axis=-1).reshape(batch, length, top_k)
    fits_BxLxK = ahead_BxLxK < slots
    slot_BxLxK = jnp.where(fits_BxLxK, expert_BxLxK * slots + ahead_BxLxK, experts * slots)

    slot_BxLK = slot_BxLxK.reshape(batch, -1)
    empty = jnp.full((batch, experts * slots + 1), length * top_k, jnp.int32)
    rows = jnp.arange(batch)[:, None]
    choice = jnp.arange(length * top_k, dtype=jnp.int32)
    choice_BxEC = empty.at[rows, slot_BxLK].set(choice)[:, :-1]

    chosen_BxE = jnp.mean(is_chosen_BxLxKxE.astype(jnp.float32), axis=(1, 2))
    dropped_B = 1 - jnp.mean(fits_BxLxK.astype(jnp.float32), axis=(1, 2))
    prob_BxE = jnp.mean(probs_BxLxE, axis=1)
    return Routes(choice_BxEC, slot_BxLK, gate_BxLxK, chosen_BxE, prob_BxE, dropped_B)


def balance_loss(chosen: jax.Array, prob: jax.Array) -> jax.Array:
    """Returns the load-balancing loss, which is 1 where experts are chosen evenly.

    Fedus et al. 2022, equation 4: the number of experts times the sum over experts of the fraction
    of choices times the mean probability.
    """
    return chosen.shape[-1] * jnp.sum(chosen * prob, axis=-1)


def dispatch(x_BxLxD: jax.Array, routes: Routes, experts: int) -> jax.Array:
    """Moves tokens to their slots: [B, E, C, D], with zeros in empty slots."""
    batch, _, width = x_BxLxD.shape
    x_BxLKxD = jnp.repeat(x_BxLxD, routes.top_k, axis=1)
    return _move(x_BxLKxD, routes.choice_BxEC, routes.slot_BxLK).reshape(batch, experts, -1, width)


def combine(y_BxExCxD: jax.Array, routes: Routes) -> jax.Array:
    """Moves weighted results back to their tokens: [B, L, D], with zeros for dropped tokens."""
    batch, _, _, width = y_BxExCxD.shape
    y_BxECxD = y_BxExCxD.reshape(batch, -1, width)
    picked = _move(y_BxECxD, routes.slot_BxLK, routes.choice_BxEC)
    picked_BxLxKxD = picked.reshape(batch, -1, routes.top_k, width)
    gate_BxLxK = routes.gate_BxLxK.astype(y_BxExCxD.dtype)
    return jnp.sum(picked_BxLxKxD * gate_BxLxK[..., None], axis=2)


@jax.custom_vjp
def _move(rows_BxRxD: jax.Array, source_BxS: jax.Array, target_BxR: jax.Array) -> jax.Array:
    """Gathers row ``source`` for each of S positions, or zeros where ``source`` is R.

    ``target`` is the inverse of ``source``. Each row goes to at most one position, so the gradient
    is a gather by ``target``. The scatter-add that jax would derive runs row by row on a CPU.
    """
    del target_BxR
    return _take(rows_BxRxD, source_BxS)


def _move_forward(
    rows: jax.Array, source: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return _take(rows, source), target


def _move_backward(target: jax.Array, d_out: jax.Array) -> tuple[jax.Array, None, None]:
    return _take(d_out, target), None, None


_move.defvjp(_move_forward, _move_backward)


def _take(rows: jax.Array, index: jax.Array) -> jax.Array:
    padded = jnp.pad(rows, ((0, 0), (0, 1), (0, 0)))  # the last row is zeros, for dropped choices
    return jnp.take_along_axis(padded, index[..., None], axis=1)
