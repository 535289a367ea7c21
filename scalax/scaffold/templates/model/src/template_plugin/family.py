"""The family `template-plugin`: predicts each token from the last eight. Change it to yours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx

WINDOW = 8
"""Tokens that a prediction sees."""


class Options(sx.Settings):
    """The family's own keys of ``[model]``. Any other key is an error."""

    depth: int = 1


class Net(nnx.Module):
    """Maps tokens [batch, time] to logits [batch, time, vocab] of the next token."""

    def __init__(self, width: int, depth: int, vocab: int, *, rngs: nnx.Rngs, dtype: Any) -> None:
        def linear(inputs: int, outputs: int, axis: str) -> nnx.Linear:
            kernel = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("inputs", axis))
            return nnx.Linear(inputs, outputs, kernel_init=kernel, dtype=dtype, rngs=rngs)

        hidden = 2 * width
        self.embed = nnx.Embed(vocab, width, dtype=dtype, rngs=rngs)
        self.layers = nnx.List(
            linear(hidden if k else WINDOW * width, hidden, "units") for k in range(depth)
        )
        self.head = linear(hidden, vocab, "vocab")

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Returns the logits of the token after each position, in float32."""
        time = tokens.shape[1]
        embedded = self.embed(jnp.pad(tokens, ((0, 0), (WINDOW - 1, 0))))
        x = jnp.concatenate([embedded[:, k : k + time] for k in range(WINDOW)], axis=-1)
        for layer in self.layers:
            x = nnx.relu(layer(x))
        return self.head(x).astype(jnp.float32)

    def sums(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns the metrics summed over the tokens of unmasked examples, and their number."""
        tokens = batch["tokens"]
        targets = tokens[:, 1:]
        mask = jnp.broadcast_to(batch["mask"][:, None], targets.shape)
        return sx.label_sums(self(tokens[:, :-1]), targets, mask)


def recipe(params: int, units: float, data: sx.DataSpec) -> sx.Recipe:
    """Returns the batch [examples] and the learning rate. State here how you tuned yours."""
    del params, units, data
    return sx.Recipe(batch=16, learning_rate=0.003)


@sx.family(
    "template-plugin",
    features=["tokens"],
    metrics=["loss", "accuracy"],
    # The mesh axis that each named axis of a parameter is sharded over: data, fsdp, tensor, expert.
    rules={"vocab": None, "inputs": "fsdp", "units": "tensor"},
    options=Options,
    recipe=recipe,
    # What `scalax plugins check` builds and trains.
    trial=sx.Trial((1e4, 3e4, 1e5, 1e6), {"dataset": "stdlib", "seq_len": 32}, steps=60),
)
def template_plugin(
    size: int, data: sx.DataSpec, rngs: nnx.Rngs, compute: sx.Compute, options: Options
) -> Net:
    """Layers over the last eight tokens."""
    return Net(size, options.depth, data.classes, rngs=rngs, dtype=compute.dtype)
