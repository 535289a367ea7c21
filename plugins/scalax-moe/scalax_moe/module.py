"""The mixture-of-experts transformer in Flax NNX; `scalax_moe.shape` counts it.

Attention, norms and embedding are scalax's own. The MLP of each layer is a router and experts,
which are sharded over the mesh axis ``expert``. Letters in names are dimensions: B batch, L tokens,
D width, E experts, C slots of an expert.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_moe.routing import balance_loss, combine, dispatch, route
from scalax_moe.shape import MoeShape

_EMBED_STD = 0.02


class Experts(nnx.Module):
    """E MLPs in parallel, each over its own slots: [B, E, C, D] to [B, E, C, D]."""

    def __init__(self, shape: MoeShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        s = shape.dense

        def weights(inputs: int, outputs: int, names: tuple[str, str], std: float) -> nnx.Param:
            init = nnx.initializers.truncated_normal(std)
            values = init(rngs.params(), (shape.experts, inputs, outputs), jnp.float32)
            return nnx.Param(values, out_sharding=("expert", *names), eager_sharding=False)

        into = (s.width, s.hidden, ("embed", "mlp"), s.width**-0.5)
        self.up = weights(*into)
        self.gate = weights(*into)
        self.down = weights(
            s.hidden, s.width, ("mlp", "embed"), s.hidden**-0.5 * (2 * s.layers) ** -0.5
        )
        self.dtype = dtype

    def __call__(self, x_BxExCxD: jax.Array) -> jax.Array:
        """Applies each expert's SwiGLU to its slots."""
        up, gate, down = (w[...].astype(self.dtype) for w in (self.up, self.gate, self.down))
        wide = jax.nn.silu(_products(x_BxExCxD, gate)) * _products(x_BxExCxD, up)
        return _products(wide, down)


def _products(x_BxExCxI: jax.Array, k_ExIxO: jax.Array) -> jax.Array:
    """Multiplies each expert's slots by its matrix, in one batched matrix product.

    With four axes XLA takes two to five times as long on a CPU.
    """
    batch, experts, slots, inputs = x_BxExCxI.shape
    x_ExRxI = jnp.swapaxes(x_BxExCxI, 0, 1).reshape(experts, batch * slots, inputs)
    x_ExBxCxO = (x_ExRxI @ k_ExIxO).reshape(experts, batch, slots, -1)
    return jnp.swapaxes(x_ExBxCxO, 0, 1)


class RoutingStats(NamedTuple):
    """Routing statistics of a layer, or their mean over layers.

    Attributes:
        batch_balance: The balance loss of the whole batch, which training minimises. Balancing each
            sequence would keep experts from specialising (Qiu et al. 2025, arXiv:2501.11873).
        balance_B: The balance loss of each sequence, a metric that adds up over batches.
        dropped_B: Fraction of each sequence's choices that are dropped.
    """

    batch_balance: jax.Array
    balance_B: jax.Array
    dropped_B: jax.Array


class SparseMlp(nnx.Module):
    """A router and experts, in place of an MLP."""

    def __init__(self, shape: MoeShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        width = shape.dense.width
        self.router = sx.Matrix(
            rngs,
            (width, shape.experts),
            ("embed", "router"),
            inputs=1,
            std=width**-0.5,
            dtype=jnp.float32,
        )
        self.experts = Experts(shape, rngs, dtype=dtype)
        self.shape = shape

    def __call__(self, x_BxLxD: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, RoutingStats]:
        """Returns the experts' weighted output and the routing statistics."""
        s = self.shape
        routes = route(self.router(x_BxLxD), s.top_k, s.slots)
        x_BxExCxD = sx.constrain(
            dispatch(x_BxLxD, routes, s.experts), "expert_batch", "expert", None, None
        )
        y_BxExCxD = sx.constrain(self.experts(x_BxExCxD), "expert_batch", "expert", None, None)
        mixed = sx.constrain(combine(y_BxExCxD, routes), "batch", None, None)
        share_Bx1 = (weight_B / jnp.maximum(jnp.sum(weight_B), 1.0))[:, None]
        chosen = jnp.sum(share_Bx1 * routes.chosen_BxE, axis=0)
        prob = jnp.sum(share_Bx1 * routes.prob_BxE, axis=0)
        return mixed, RoutingStats(
            batch_balance=balance_loss(chosen, prob),
            balance_B=balance_loss(routes.chosen_BxE, routes.prob_BxE),
            dropped_B=routes.dropped_B,
        )


class Block(nnx.Module):
    """Attention and a sparse MLP, each with a norm before it and a residual connection."""

    def __init__(self, shape: MoeShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        s = shape.dense
        self.attention_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.attention = sx.Attention(s, rngs, dtype=dtype)
        self.mlp_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.mlp = SparseMlp(shape, rngs, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, RoutingStats]:
        """Returns the residual stream and the routing statistics."""
        x_BxLxD = x_BxLxD + self.attention(self.attention_norm(x_BxLxD))
        mixed, stats = self.mlp(self.mlp_norm(x_BxLxD), weight_B)
        return x_BxLxD + mixed, stats


class MoeDecoder(nnx.Module):
    """The language model.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        compute: How to compute: dtype, recomputation, kernels.
    """

    def __init__(self, shape: MoeShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s, dtype = shape.dense, compute.dtype
        init = nnx.initializers.truncated_normal(_EMBED_STD if s.tied else 1.0)
        table = init(rngs.params(), (s.vocab, s.width), jnp.float32)
        self.embedding = nnx.Param(table, out_sharding=("vocab", "embed"), eager_sharding=False)

        def block(rngs: nnx.Rngs) -> Block:
            return Block(shape, rngs, dtype=dtype)

        self.blocks = sx.stacked_layers(s.layers, rngs, block)
        self.norm = sx.RMSNorm(s.width, dtype=dtype)
        self.head = (
            None
            if s.tied
            else sx.Matrix(
                rngs,
                (s.width, s.vocab),
                ("embed", "vocab"),
                inputs=1,
                std=s.width**-0.5,
                dtype=dtype,
            )
        )
        self.shape, self.compute = shape, compute

    def hidden(self, tokens_BxL: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, RoutingStats]:
        """Returns activations [B, L, D] and the mean routing statistics over layers.

        Args:
            tokens_BxL: The tokens.
            weight_B: Weight of each sequence in the balance loss of the batch.
        """
        table = self.embedding[...].astype(self.compute.dtype)
        graph, stacked = nnx.split(self.blocks)

        def layer(
            carry: tuple[jax.Array, RoutingStats], params: Any
        ) -> tuple[jax.Array, RoutingStats]:
            x_BxLxD, stats = nnx.merge(graph, params)(carry[0], weight_B)
            total = jax.tree.map(jnp.add, carry[1], stats)
            return sx.constrain(x_BxLxD, "batch", None, None), total

        x_BxLxD = sx.constrain(table[tokens_BxL], "batch", None, None)
        zero_B = jnp.zeros_like(weight_B)
        zeros = RoutingStats(jnp.zeros((), zero_B.dtype), zero_B, zero_B)
        x_BxLxD, total = self.compute.layers(layer, (x_BxLxD, zeros), stacked)
        layers = self.shape.dense.layers
        return self.norm(x_BxLxD), jax.tree.map(lambda value: value / layers, total)

    def logits(self, x_BxLxD: jax.Array) -> jax.Array:
        """Applies the head: activations [B, l, D] to logits [B, l, V]."""
        if self.head is not None:
            return self.head(x_BxLxD)
        return x_BxLxD @ self.embedding[...].astype(x_BxLxD.dtype).T


def token_sums(
    module: MoeDecoder, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns metrics summed over the predicted tokens.

    The value of ``loss`` is the cross-entropy in nats. Its gradient includes that of the balance
    loss, so that training balances the experts while the reported loss stays comparable.

    Args:
        module: The model.
        batch: ``tokens`` [B, L + 1] and ``mask`` [B].

    Returns:
        ``loss``, ``balance`` and ``dropped``, and the number of tokens, float32.
    """
    tokens, weight_B = batch["tokens"], batch["mask"].astype(jnp.float32)
    targets = tokens[:, 1:]
    x_BxLxD, stats = module.hidden(tokens[:, :-1], weight_B)
    nats = sx.summed_cross_entropy(
        module.logits, x_BxLxD, targets, weight_B, module.shape.dense.vocab
    )
    length = targets.shape[1]
    count = length * jnp.sum(weight_B)
    # Zero in value; only the gradient of the balance loss remains.
    balance = stats.batch_balance - jax.lax.stop_gradient(stats.batch_balance)
    sums = {
        "loss": nats + module.shape.balance * count * balance,
        "balance": length * jnp.sum(weight_B * stats.balance_B),
        "dropped": length * jnp.sum(weight_B * stats.dropped_B),
    }
    return sums, count
