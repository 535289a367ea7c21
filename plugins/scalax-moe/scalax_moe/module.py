"""The mixture-of-experts transformer in Flax NNX: what `scalax_moe.shape` counts.

Attention, norms and embedding are scalax's own; the MLP of each layer is a router and experts,
which lie divided over the mesh axis ``expert``. B batch, L tokens, D width, E experts, C places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_moe.routing import combine, dispatch, route
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


def _products(x_BxExCxI: jax.Array, kernel: jax.Array) -> jax.Array:
    return jnp.einsum("beci,eio->beco", x_BxExCxI, kernel)


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

    def __call__(self, x_BxLxD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The mixture, and each sequence's balance loss and share of dropped choices."""
        s = self.shape
        routes = route(self.router(x_BxLxD), s.top_k, s.places)
        x_BxExCxD = sx.constrain(
            dispatch(x_BxLxD, routes, s.experts), "expert_batch", "expert", None, None
        )
        y_BxExCxD = sx.constrain(self.experts(x_BxExCxD), "expert_batch", "expert", None, None)
        mixed = sx.constrain(combine(y_BxExCxD, routes), "batch", None, None)
        return mixed, routes.balance_B, routes.dropped_B


class Block(nnx.Module):
    """Attention and a sparse MLP, each on a normalised copy of the residual stream."""

    def __init__(self, shape: MoeShape, rngs: nnx.Rngs, *, dtype: Any) -> None:
        s = shape.dense
        self.attention_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.attention = sx.Attention(s, rngs, dtype=dtype)
        self.mlp_norm = sx.RMSNorm(s.width, dtype=dtype)
        self.mlp = SparseMlp(shape, rngs, dtype=dtype)

    def __call__(self, x_BxLxD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The residual stream, and what `SparseMlp` tells."""
        x_BxLxD = x_BxLxD + self.attention(self.attention_norm(x_BxLxD))
        mixed, balance_B, dropped_B = self.mlp(self.mlp_norm(x_BxLxD))
        return x_BxLxD + mixed, balance_B, dropped_B


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

    def hidden(self, tokens_BxL: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Activations [B, L, D], and balance loss and dropped share [B], means over layers."""
        table = self.embedding[...].astype(self.compute.dtype)
        graph, stacked = nnx.split(self.blocks)

        def layer(carry: Any, params: Any) -> Any:
            x_BxLxD, balance_B, dropped_B = nnx.merge(graph, params)(carry[0])
            x_BxLxD = sx.constrain(x_BxLxD, "batch", None, None)
            return x_BxLxD, carry[1] + balance_B, carry[2] + dropped_B

        x_BxLxD = sx.constrain(table[tokens_BxL], "batch", None, None)
        none_B = jnp.zeros(x_BxLxD.shape[0], jnp.float32)
        x_BxLxD, balance_B, dropped_B = self.compute.layers(
            layer, (x_BxLxD, none_B, none_B), stacked
        )
        layers = self.shape.dense.layers
        return self.norm(x_BxLxD), balance_B / layers, dropped_B / layers

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
    x_BxLxD, balance_B, dropped_B = module.hidden(tokens[:, :-1])
    nats = sx.summed_cross_entropy(
        module.logits, x_BxLxD, targets, weight_B, module.shape.dense.vocab
    )
    length = targets.shape[1]
    balance = length * jnp.sum(weight_B * balance_B)
    pull = module.shape.balance * (balance - jax.lax.stop_gradient(balance))
    sums = {
        "loss": nats + pull,
        "balance": balance,
        "dropped": length * jnp.sum(weight_B * dropped_B),
    }
    return sums, length * jnp.sum(weight_B)
