"""The two towers in Flax NNX; `scalax_recsys.shape` counts them. Imports jax.

Parameters are float32 and carry logical axis names: the rows of a table are sharded over the mesh
axis ``tensor`` and its width over ``fsdp``. Letters in names are dimensions: B batch, H items of
history, F fields, C candidates (the target first), D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import scalax as sx
from scalax_recsys.shape import TwoTowerShape

_MASKED_SCORE = -1e9
_EPSILON = 1e-6
_TOP = 10
_KNUTH = 2654435761  # 2^32 / golden ratio, for Knuth's multiplicative hash


class Table(nnx.Module):
    """An embedding table. If there are more numbers than rows, numbers share rows by hash.

    Args:
        rngs: Random stream for the initial values.
        numbers: Count of distinct numbers; None for hashes, which are taken modulo the rows.
        rows: Rows of the table.
        width: Width of an embedding.
        dtype: Dtype of the result.
    """

    def __init__(
        self, rngs: nnx.Rngs, numbers: int | None, rows: int, width: int, *, dtype: Any
    ) -> None:
        values = width**-0.5 * jax.random.normal(rngs.params(), (rows, width), jnp.float32)
        self.table = nnx.Param(values, out_sharding=("rows", "embed"), eager_sharding=False)
        self.numbers, self.rows, self.dtype = numbers, rows, dtype

    def __call__(self, numbers: jax.Array) -> jax.Array:
        """Looks up the embeddings [..., D] of numbers [...]."""
        if self.numbers is None:
            numbers = numbers % self.rows
        elif self.numbers > self.rows:
            mixed = numbers.astype(jnp.uint32) * jnp.uint32(_KNUTH)
            numbers = ((mixed >> 8) % jnp.uint32(self.rows)).astype(jnp.int32)
        return self.table[...].astype(self.dtype)[numbers]


class Towers(nnx.Module):
    """A user tower and an item tower; the product of their vectors is a score.

    The user tower adds the mean of the history's embeddings and those of the fields, normalises the
    sum and applies an MLP with a residual connection. The item tower is the item table.

    Args:
        shape: The architecture.
        rngs: Random streams for the initial parameters.
        dtype: Dtype to compute in.
    """

    def __init__(self, shape: TwoTowerShape, *, rngs: nnx.Rngs, dtype: Any) -> None:
        s = shape
        self.items = Table(rngs, s.items, s.rows, s.width, dtype=dtype)
        self.fields = (
            Table(rngs, None, s.field_rows, s.width, dtype=dtype) if s.field_rows else None
        )
        self.scale = nnx.Param(
            jnp.ones(s.width, jnp.float32), out_sharding=("norm",), eager_sharding=False
        )
        self.up = _matrix(rngs, (s.width, s.hidden), ("embed", "mlp"))
        self.down = _matrix(rngs, (s.hidden, s.width), ("mlp", "embed"))
        self.dtype = dtype

    def users(self, fields_BxF: jax.Array, history_BxH: jax.Array) -> jax.Array:
        """Computes the users' vectors [B, D]."""
        seen_BxHx1 = (history_BxH > 0)[..., None]
        past_BxHxD = jnp.where(seen_BxHx1, self.items(history_BxH), 0)
        x_BxD = jnp.sum(past_BxHxD, axis=1) / jnp.maximum(1, jnp.sum(seen_BxHx1, axis=1))
        if self.fields is not None:
            x_BxD = x_BxD + jnp.sum(self.fields(fields_BxF), axis=1)
        x_BxD = sx.constrain(x_BxD, "batch", None).astype(jnp.float32)
        size_Bx1 = jnp.mean(x_BxD * x_BxD, axis=1, keepdims=True)
        x_BxD = x_BxD * jax.lax.rsqrt(size_Bx1 + _EPSILON) * self.scale[...]
        x_BxD = x_BxD.astype(self.dtype)
        up, down = (matrix[...].astype(self.dtype) for matrix in (self.up, self.down))
        return x_BxD + jax.nn.relu(x_BxD @ up) @ down

    def scores(
        self, fields_BxF: jax.Array, history_BxH: jax.Array, candidates_BxC: jax.Array
    ) -> jax.Array:
        """Computes the scores [B, C] of candidates, float32."""
        x_BxD = self.users(fields_BxF, history_BxH)
        items_BxCxD = sx.constrain(self.items(candidates_BxC), "batch", None, None)
        return jnp.einsum("bd,bcd->bc", x_BxD, items_BxCxD).astype(jnp.float32)


def _matrix(rngs: nnx.Rngs, shape: tuple[int, int], names: tuple[str, str]) -> nnx.Param:
    values = shape[0] ** -0.5 * jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(values, out_sharding=names, eager_sharding=False)


def ranking_sums(
    module: Towers, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns the summed metrics of a batch.

    The loss is a sampled softmax: the target against the example's own negatives. Negatives are
    drawn by how often items occur, so popularity gives an item no advantage. A negative that equals
    the target does not count. An item with the target's score ranks before it.

    Args:
        module: The model.
        batch: ``fields`` [B, F], ``history`` [B, H], ``target`` [B], ``negatives`` [B, C - 1] and
            ``mask`` [B].

    Returns:
        Sums of ``loss`` in nats, ``recall_at_10``, ``miss_at_10``, ``mrr`` (1 / rank) and
        ``ndcg_at_10``, and the number of examples; float32.
    """
    target_Bx1 = batch["target"][:, None]
    candidates_BxC = jnp.concatenate([target_Bx1, batch["negatives"]], axis=1)
    scores_BxC = module.scores(batch["fields"], batch["history"], candidates_BxC)
    own, others = scores_BxC[:, :1], scores_BxC[:, 1:]
    others = jnp.where(batch["negatives"] == target_Bx1, _MASKED_SCORE, others)
    nats = jax.nn.logsumexp(jnp.concatenate([own, others], axis=1), axis=1) - own[:, 0]
    rank = 1.0 + jnp.sum(others >= own, axis=1)
    in_top = rank <= _TOP
    weight = batch["mask"].astype(jnp.float32)
    each = {
        "loss": nats,
        "recall_at_10": in_top,
        "miss_at_10": ~in_top,
        "mrr": 1 / rank,
        "ndcg_at_10": in_top / jnp.log2(1 + rank),
    }
    return {name: jnp.sum(weight * value) for name, value in each.items()}, jnp.sum(weight)
