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
        token_BxEC: The token in each place, L where it is empty, int32.
        place_BxLxK: The place of each of a token's choices, EC where it found none, int32.
        gate_BxLxK: Weight of each choice's result.
        balance_B: Load-balancing loss: 1 where experts are chosen evenly.
        dropped_B: Share of the choices that found no place.
    """

    token_BxEC: jax.Array
    place_BxLxK: jax.Array
    gate_BxLxK: jax.Array
    balance_B: jax.Array
    dropped_B: jax.Array


def route(logits_BxLxE: jax.Array, top_k: int, places: int) -> Routes:
    """Sends each token to its ``top_k`` likeliest experts while they have places.

    Places go to tokens in their order and never to a later one first, so that what a position
    computes depends on those before it alone. With one choice the gate is its probability (Fedus
    et al. 2022, arXiv:2101.03961, equation 2), with more they are normalised over the choices
    (Jiang et al. 2024, arXiv:2401.04088, section 2.1). The balance loss is Fedus et al.'s
    equation 4, the number of experts times the sum over experts of the share of choices times the
    mean probability, taken over one sequence.

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

    token = jnp.repeat(jnp.arange(length, dtype=jnp.int32), top_k)
    empty = jnp.full((batch, experts * places + 1), length, jnp.int32)
    rows = jnp.arange(batch)[:, None]
    token_BxEC = empty.at[rows, place_BxLxK.reshape(batch, -1)].set(token)[:, :-1]

    share_BxE = jnp.mean(chosen_BxLxKxE.astype(jnp.float32), axis=(1, 2))
    balance_B = experts * jnp.sum(share_BxE * jnp.mean(probs_BxLxE, axis=1), axis=-1)
    dropped_B = 1 - jnp.mean(fits_BxLxK.astype(jnp.float32), axis=(1, 2))
    return Routes(token_BxEC, place_BxLxK, gate_BxLxK, balance_B, dropped_B)


def dispatch(x_BxLxD: jax.Array, routes: Routes, experts: int) -> jax.Array:
    """The tokens in their places, zeros in empty ones: [B, E, C, D]."""
    batch, _, width = x_BxLxD.shape
    found = _take(_with_zero(x_BxLxD), routes.token_BxEC)
    return found.reshape(batch, experts, -1, width)


def combine(y_BxExCxD: jax.Array, routes: Routes) -> jax.Array:
    """The weighted results back at their tokens: [B, L, D]; zeros where no choice had a place."""
    batch, _, _, width = y_BxExCxD.shape
    length, top_k = routes.place_BxLxK.shape[1:]
    flat_BxECxD = _with_zero(y_BxExCxD.reshape(batch, -1, width))
    picked = _take(flat_BxECxD, routes.place_BxLxK.reshape(batch, -1))
    picked_BxLxKxD = picked.reshape(batch, length, top_k, width)
    gate_BxLxK = routes.gate_BxLxK.astype(y_BxExCxD.dtype)
    return jnp.sum(picked_BxLxKxD * gate_BxLxK[..., None], axis=2)


def _with_zero(rows: jax.Array) -> jax.Array:
    """One more row of zeros along axis 1, for what is nowhere."""
    return jnp.pad(rows, ((0, 0), (0, 1), (0, 0)))


def _take(rows: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take_along_axis(rows, index[..., None], axis=1)
