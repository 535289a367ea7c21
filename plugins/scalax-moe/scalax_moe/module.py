"""The mixture-of-experts transformer in Flax NNX: what `scalax_moe.shape` counts.

Attention, norms and embedding are scalax's own; the MLP of each layer is a router and experts,
which lie divided over the mesh axis ``expert``. B batch, L tokens, D width, E experts, C places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_moe.routing import combine, dispatch, imbalance, route
from scalax_moe.shape import MoeShape

_EMBED_STD = 0.02


class Experts(nnx.Module):
    """E MLPs side by side, each on its own places: [B, E, C, D] to [B, E, C, D]."""

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
        """SwiGLU in each expert."""
        up, gate, down = (w[...].astype(self.dtype) for w in (self.up, self.gate, self.down))
        wide = jax.nn.silu(_products(x_BxExCxD, gate)) * _products(x_BxExCxD, up)
        return _products(wide, down)


def _products(x_BxExCxI: jax.Array, k_ExIxO: jax.Array) -> jax.Array:
    """Each expert's product as one of two matrices; left with four axes, XLA takes twice as long
    on a CPU, or five times."""
    batch, experts, places, inputs = x_BxExCxI.shape
    x_ExRxI = jnp.swapaxes(x_BxExCxI, 0, 1).reshape(experts, batch * places, inputs)
    x_ExBxCxO = (x_ExRxI @ k_ExIxO).reshape(experts, batch, places, -1)
    return jnp.swapaxes(x_ExBxCxO, 0, 1)


class Told(NamedTuple):
    """What a layer tells of its routes, or the mean over layers.

    Attributes:
        pull: The balance loss of the whole batch, which training lowers. Of one sequence it would
            keep experts from taking to kinds of text (Qiu et al. 2025, arXiv:2501.11873).
        balance_B: That of each sequence, a metric that adds up over batches.
        dropped_B: The share of its choices that found no place.
    """

    pull: jax.Array
    balance_B: jax.Array
    dropped_B: jax.Array


class SparseMlp(nnx.Module):
    """Router and experts in the place of an MLP."""

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

    def __call__(self, x_BxLxD: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, Told]:
        """The mixture, and what it tells of its routes."""
        s = self.shape
        routes = route(self.router(x_BxLxD), s.top_k, s.places)
        x_BxExCxD = sx.constrain(
            dispatch(x_BxLxD, routes, s.experts), "expert_batch", "expert", None, None
        )
        y_BxExCxD = sx.constrain(self.experts(x_BxExCxD), "expert_batch", "expert", None, None)
        mixed = sx.constrain(combine(y_BxExCxD, routes), "batch", None, None)
        part_Bx1 = (weight_B / jnp.maximum(jnp.sum(weight_B), 1.0))[:, None]
        over_batch = (jnp.sum(part_Bx1 * of, axis=0) for of in (routes.share_BxE, routes.prob_BxE))
        return mixed, Told(
            pull=imbalance(*over_batch),
            balance_B=imbalance(routes.share_BxE, routes.prob_BxE),
            dropped_B=routes.dropped_B,
        )


class Block(nnx.Module):
    """Attention and a sparse MLP, each on a normalised copy of the residual stream."""

    def __init__(self, shape: MoeShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        s = shape.dense
        self.attention_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.attention = sx.Attention(s, rngs, dtype=dtype)
        self.mlp_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.mlp = SparseMlp(shape, rngs, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, Told]:
        """The residual stream, and what `SparseMlp` tells."""
        x_BxLxD = x_BxLxD + self.attention(self.attention_norm(x_BxLxD))
        mixed, told = self.mlp(self.mlp_norm(x_BxLxD), weight_B)
        return x_BxLxD + mixed, told


class MoeDecoder(nnx.Module):
    """The language model.

    Args:
        shape: The architecture.
        rngs: For the initial parameters.
        compute: How to compute.
    """

    def __init__(self, shape: MoeShape, *, rngs: nnx.Rngs, compute: sx.Compute) -> None:
        s, dtype = shape.dense, compute.dtype
        init = nnx.initializers.truncated_normal(_EMBED_STD if s.tied else 1.0)
        table = init(rngs.params(), (s.vocab, s.width), jnp.float32)
        self.embedding = nnx.Param(table, out_sharding=("vocab", "embed"), eager_sharding=False)

        def block(rngs: nnx.Rngs) -> Block:
            return Block(shape, rngs, dtype=dtype)

        stacked = nnx.vmap(block, transform_metadata={nnx.PARTITION_NAME: "layers"})
        self.blocks = nnx.split_rngs(splits=s.layers)(stacked)(rngs)
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

    def hidden(self, tokens_BxL: jax.Array, weight_B: jax.Array) -> tuple[jax.Array, Told]:
        """Activations [B, L, D], and what its layers tell on average.

        Args:
            tokens_BxL: The tokens.
            weight_B: How much each sequence counts in the balance of the batch.
        """
        table = self.embedding[...].astype(self.compute.dtype)
        graph, stacked = nnx.split(self.blocks)

        def layer(carry: tuple[jax.Array, Told], params: Any) -> tuple[jax.Array, Told]:
            x_BxLxD, told = nnx.merge(graph, params)(carry[0], weight_B)
            return sx.constrain(x_BxLxD, "batch", None, None), jax.tree.map(jnp.add, carry[1], told)

        x_BxLxD = sx.constrain(table[tokens_BxL], "batch", None, None)
        none_B = jnp.zeros_like(weight_B)
        nothing = Told(jnp.zeros((), none_B.dtype), none_B, none_B)
        x_BxLxD, told = self.compute.layers(layer, (x_BxLxD, nothing), stacked)
        return self.norm(x_BxLxD), jax.tree.map(lambda of: of / self.shape.dense.layers, told)

    def logits(self, x_BxLxD: jax.Array) -> jax.Array:
        """The head: activations [B, l, D] to logits [B, l, V]."""
        if self.head is not None:
            return self.head(x_BxLxD)
        return x_BxLxD @ self.embedding[...].astype(x_BxLxD.dtype).T


def token_sums(
    module: MoeDecoder, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Sums over the tokens predicted.

    The value of ``loss`` is the cross-entropy alone, in nats; its gradient is also that of the
    balance loss, so that training balances the experts and the number stays comparable.

    Args:
        module: The model.
        batch: ``tokens`` [B, L + 1] and ``mask`` [B].

    Returns:
        ``loss``, ``balance`` and ``dropped``, and the number of tokens, float32.
    """
    tokens, weight_B = batch["tokens"], batch["mask"].astype(jnp.float32)
    targets = tokens[:, 1:]
    x_BxLxD, told = module.hidden(tokens[:, :-1], weight_B)
    nats = sx.summed_cross_entropy(
        module.logits, x_BxLxD, targets, weight_B, module.shape.dense.vocab
    )
    length = targets.shape[1]
    count = length * jnp.sum(weight_B)
    pull = module.shape.balance * count * (told.pull - jax.lax.stop_gradient(told.pull))
    sums = {
        "loss": nats + pull,
        "balance": length * jnp.sum(weight_B * told.balance_B),
        "dropped": length * jnp.sum(weight_B * told.dropped_B),
    }
    return sums, count
