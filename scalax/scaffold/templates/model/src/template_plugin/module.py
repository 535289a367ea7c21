"""The Flax module of the family, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from template_plugin.family import WINDOW, Shape


class Net(nnx.Module):
    """Tokens [batch, time + 1] to logits [batch, time, vocab]: each from the ones before it."""

    def __init__(self, shape: Shape, *, rngs: nnx.Rngs, dtype: Any) -> None:
        def named(init: Any, *names: str) -> Any:
            return nnx.with_partitioning(init, names)

        normal, zeros = nnx.initializers.lecun_normal(), nnx.initializers.zeros_init()
        self.dtype = dtype
        self.embed = nnx.Param(
            named(nnx.initializers.normal(1.0), "vocab", "inputs")(
                rngs.params(), (shape.vocab, shape.width)
            )
        )
        last = len(shape.matrices) - 1
        self.layers = nnx.List(
            nnx.Linear(
                inputs,
                outputs,
                kernel_init=named(normal, "inputs", "vocab" if k == last else "units"),
                bias_init=named(zeros, "vocab" if k == last else "units"),
                dtype=dtype,
                rngs=rngs,
            )
            for k, (inputs, outputs) in enumerate(shape.matrices)
        )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits for the token after each of the first ``time``."""
        time = tokens.shape[1] - 1
        padded = jnp.pad(tokens, ((0, 0), (WINDOW - 1, 0)))
        embedded = jnp.asarray(self.embed[...], self.dtype)[padded]
        seen = [embedded[:, k : k + time] for k in range(WINDOW)]
        x = jnp.concatenate(seen, axis=-1)
        *hidden, head = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return head(x).astype(jnp.float32)


def token_sums(module: Net, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Sums over the tokens predicted, those of masked examples left out."""
    tokens = batch["tokens"]
    logits, targets = module(tokens), tokens[:, 1:]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    right = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
    mask = jnp.broadcast_to(batch["mask"][:, None], targets.shape)
    sums = {"loss": jnp.sum(each * mask), "accuracy": jnp.sum(right * mask)}
    return sums, jnp.sum(mask)
