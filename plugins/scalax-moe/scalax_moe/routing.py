"""Which expert takes which token: top-k routing with places, token by token in their order.

Pure functions of one sequence at a time, so that routing depends on no other example, batch size
or mesh. Letters in names are dimensions: B batch, L tokens, E experts, C places of an expert,
K experts of a token, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Routes(NamedTuple):
    """Where the tokens of a batch go.

    Attributes:
        choice_BxEC: The choice in each place, l K + k of token l, LK where it is empty, int32.
        place_BxLK: The place of each choice, EC where it found none, int32.
        gate_BxLxK: Weight of each choice's result.
        share_BxE: Share of the choices that are of each expert, whether they found a place.
        prob_BxE: Mean probability of each expert.
        dropped_B: Share of the choices that found no place.
    """

    choice_BxEC: jax.Array
    place_BxLK: jax.Array
    gate_BxLxK: jax.Array
    share_BxE: jax.Array
    prob_BxE: jax.Array
    dropped_B: jax.Array

    @property
    def top_k(self) -> int:
        """Choices of a token."""
        return self.gate_BxLxK.shape[-1]


def route(logits_BxLxE: jax.Array, top_k: int, places: int) -> Routes:
    """Sends each token to its ``top_k`` likeliest experts while they have places.

    Places go to tokens in their order and never to a later one first, so that what a position
    computes depends on those before it alone. With one choice the gate is its probability (Fedus
    et al. 2022, arXiv:2101.03961, equation 2), with more they are normalised over the choices
    (Jiang et al. 2024, arXiv:2401.04088, section 2.1).

    Args:
        logits_BxLxE: The router's, float32.
        top_k: K.
        places: C.
    """
    batch, length, experts = logits_BxLxE.shape
    probs_BxLxE = jax.nn.softmax(logits_BxLxE, axis=-1)
    gate_BxLxK, expert_BxLxK = jax.lax.top_k(probs_BxLxE, top_k)
    if top_k > 1:
        gate_BxLxK = gate_BxLxK / jnp.sum(gate_BxLxK, axis=-1, keepdims=True)

    chosen_BxLxKxE = expert_BxLxK[..., None] == jnp.arange(experts)
    queue_BxLKxE = chosen_BxLxKxE.reshape(batch, length * top_k, experts).astype(jnp.int32)
    ahead_BxLKxE = jnp.cumsum(queue_BxLKxE, axis=1) - queue_BxLKxE
    ahead_BxLxK = jnp.sum(ahead_BxLKxE * queue_BxLKxE, axis=-1).reshape(batch, length, top_k)
    fits_BxLxK = ahead_BxLxK < places
    place_BxLxK = jnp.where(fits_BxLxK, expert_BxLxK * places + ahead_BxLxK, experts * places)

    place_BxLK = place_BxLxK.reshape(batch, -1)
    empty = jnp.full((batch, experts * places + 1), length * top_k, jnp.int32)
    rows = jnp.arange(batch)[:, None]
    choice = jnp.arange(length * top_k, dtype=jnp.int32)
    choice_BxEC = empty.at[rows, place_BxLK].set(choice)[:, :-1]

    share_BxE = jnp.mean(chosen_BxLxKxE.astype(jnp.float32), axis=(1, 2))
    dropped_B = 1 - jnp.mean(fits_BxLxK.astype(jnp.float32), axis=(1, 2))
    prob_BxE = jnp.mean(probs_BxLxE, axis=1)
    return Routes(choice_BxEC, place_BxLK, gate_BxLxK, share_BxE, prob_BxE, dropped_B)


def imbalance(share: jax.Array, prob: jax.Array) -> jax.Array:
    """The load-balancing loss, 1 where experts are chosen evenly (Fedus et al. 2022, equation 4):
    the number of experts times the sum over them of share of choices times mean probability."""
    return share.shape[-1] * jnp.sum(share * prob, axis=-1)


def dispatch(x_BxLxD: jax.Array, routes: Routes, experts: int) -> jax.Array:
    """The tokens in their places, zeros in empty ones: [B, E, C, D]."""
    batch, _, width = x_BxLxD.shape
    x_BxLKxD = jnp.repeat(x_BxLxD, routes.top_k, axis=1)
    return _move(x_BxLKxD, routes.choice_BxEC, routes.place_BxLK).reshape(batch, experts, -1, width)


def combine(y_BxExCxD: jax.Array, routes: Routes) -> jax.Array:
    """The weighted results back at their tokens: [B, L, D]; zeros where no choice had a place."""
    batch, _, _, width = y_BxExCxD.shape
    y_BxECxD = y_BxExCxD.reshape(batch, -1, width)
    picked = _move(y_BxECxD, routes.place_BxLK, routes.choice_BxEC)
    picked_BxLxKxD = picked.reshape(batch, -1, routes.top_k, width)
    gate_BxLxK = routes.gate_BxLxK.astype(y_BxExCxD.dtype)
    return jnp.sum(picked_BxLxKxD * gate_BxLxK[..., None], axis=2)


@jax.custom_vjp
def _move(rows_BxRxD: jax.Array, there_BxS: jax.Array, back_BxR: jax.Array) -> jax.Array:
    """Row ``there`` at each of S positions, zeros where it is R; ``back`` is its inverse.

    Each row goes to one position at most, so that the derivative is a move back: the scattered
    sum that jax derives runs row by row on a CPU.
    """
    del back_BxR
    return _take(rows_BxRxD, there_BxS)


def _move_forward(
    rows: jax.Array, there: jax.Array, back: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _take(rows, there), (there, back)


def _move_backward(
    kept: tuple[jax.Array, jax.Array], d_out: jax.Array
) -> tuple[jax.Array, None, None]:
    return _take(d_out, kept[1]), None, None


_move.defvjp(_move_forward, _move_backward)


def _take(rows: jax.Array, index: jax.Array) -> jax.Array:
    padded = jnp.pad(rows, ((0, 0), (0, 1), (0, 0)))  # a row of zeros, for what is nowhere
    return jnp.take_along_axis(padded, index[..., None], axis=1)
