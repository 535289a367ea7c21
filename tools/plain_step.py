"""The reference of bench_train.py: a plain jitted train step on one device, in Flax Linen.

It is written like small public trainers such as nanodo: one module per layer, dense attention with
a mask, Optax's AdamW after clipping, one `jit`. It does not import scalax and runs in its own
process. For each line of standard input, a number of steps, it prints the seconds per step.

    python tools/plain_step.py WIDTH LAYERS HEADS
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

VOCAB, LENGTH, BATCH = 256, 128, 16


def rotate(x_BxLxHxK: jax.Array) -> jax.Array:
    length, width = x_BxLxHxK.shape[1], x_BxLxHxK.shape[3]
    rates = 10_000.0 ** (-jnp.arange(0, width, 2) / width)
    angles = (jnp.arange(length)[:, None] * rates)[None, :, None, :]
    first, second = jnp.split(x_BxLxHxK, 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class Block(nn.Module):
    width: int
    heads: int

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        head_dim, length = self.width // self.heads, x_BxLxD.shape[1]
        project = partial(nn.DenseGeneral, features=(self.heads, head_dim), use_bias=False)
        h = nn.RMSNorm()(x_BxLxD)
        q, k, v = rotate(project()(h)), rotate(project()(h)), project()(h)
        scores_BxHxLxL = jnp.einsum("bqhd,bkhd->bhqk", q / head_dim**0.5, k)
        mask = jnp.tril(jnp.ones((1, 1, length, length), bool))
        scores_BxHxLxL = jnp.where(mask, scores_BxHxLxL, jnp.finfo(jnp.float32).min)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores_BxHxLxL, axis=-1), v)
        x_BxLxD = x_BxLxD + nn.DenseGeneral(self.width, axis=(-2, -1), use_bias=False)(mixed)
        h = nn.Dense(4 * self.width, use_bias=False)(nn.RMSNorm()(x_BxLxD))
        return x_BxLxD + nn.Dense(self.width, use_bias=False)(jax.nn.gelu(h))


class Decoder(nn.Module):
    width: int
    layers: int
    heads: int

    @nn.compact
    def __call__(self, tokens_BxL: jax.Array) -> jax.Array:
        embedding = nn.Embed(VOCAB, self.width)
        x = embedding(tokens_BxL)
        for _ in range(self.layers):
            x = Block(self.width, self.heads)(x)
        return embedding.attend(nn.RMSNorm()(x))


def main(width: int, layers: int, heads: int) -> None:
    model = Decoder(width, layers, heads)
    decayed = optax.adamw(
        1e-3, b2=0.95, weight_decay=0.1, mask=partial(jax.tree.map, lambda p: p.ndim > 1)
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), decayed)

    def mean_loss(params: object, tokens: jax.Array) -> jax.Array:
        logits = model.apply(params, tokens[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: object, moments: object, tokens: jax.Array) -> tuple[object, object, object]:
        loss, gradient = jax.value_and_grad(mean_loss)(params, tokens)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, loss

    draw = np.random.default_rng(0)
    batches = [draw.integers(0, VOCAB, (BATCH, LENGTH + 1), dtype=np.int32) for _ in range(4)]
    params = model.init(jax.random.key(0), batches[0][:, :-1])
    moments = optimizer.init(params)
    print(sum(leaf.size for leaf in jax.tree.leaves(params)), flush=True)
    for line in sys.stdin:
        steps, began = int(line), time.perf_counter()
        for k in range(steps):
            params, moments, loss = step(params, moments, batches[k % 4])
        jax.block_until_ready((params, loss))
        print((time.perf_counter() - began) / steps, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
