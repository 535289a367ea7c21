"""Causal attention by the best kernel of the device that the program is compiled for.

TPU: the Pallas splash kernel. GPU: cuDNN's flash attention, in half precision. Elsewhere, and
where a kernel does not take the shape: plain products, with a backward pass written out, which on
a CPU is faster than the derivative of a softmax.

Letters in names are dimensions: B batch, H query heads, G key-value heads, R = H / G query heads
to a key-value head, L positions, K head width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import spmd
from jax.sharding import PartitionSpec

from scalax.models.compute import platform

_LEAST = -0.7 * float(np.finfo(np.float32).max)
_BLOCK = 512


def attend(
    q_BxHxLxK: jax.Array, k_BxGxLxK: jax.Array, v_BxGxLxK: jax.Array, scale: float
) -> jax.Array:
    """Mixes values by the softmax of scaled scores, each position over itself and those before.

    Args:
        q_BxHxLxK: Queries.
        k_BxGxLxK: Keys; G divides H.
        v_BxGxLxK: Values.
        scale: Factor of the scores.

    Returns:
        [B, H, L, K], in the dtype of the queries.
    """
    where, (_, _, length, width) = platform(), q_BxHxLxK.shape
    if where == "tpu" and length % 128 == 0 and width % 128 == 0:
        return _splash(q_BxHxLxK * scale, k_BxGxLxK, v_BxGxLxK)
    half = q_BxHxLxK.dtype in (jnp.bfloat16, jnp.float16)
    if where == "gpu" and half and width % 8 == 0 and width <= 128:
        qkv = (jnp.swapaxes(x, 1, 2) for x in (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK))
        mixed = jax.nn.dot_product_attention(
            *qkv, scale=scale, is_causal=True, implementation="cudnn"
        )
        return jnp.swapaxes(mixed, 1, 2)
    return _plain(q_BxHxLxK * scale, k_BxGxLxK, v_BxGxLxK)


def _splash(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """The Pallas kernel, each device on its own batch rows and heads."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    length = q.shape[2]
    block = next(size for size in (_BLOCK, 256, 128) if length % size == 0)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        use_fused_bwd_kernel=True,
    )

    def local(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        causal = masks.CausalMask((length, length))
        kernel = splash.make_splash_mha_single_device(
            masks.MultiHeadMask([causal] * q.shape[1]), block_sizes=sizes
        )
        return jax.vmap(kernel)(q, k, v)

    mesh = jax.sharding.get_abstract_mesh()
    batch, heads = spmd.get_pspec(("batch", "heads"))
    across = 1 if heads is None else mesh.shape[heads]
    heads = heads if q.shape[1] % across == 0 and k.shape[1] % across == 0 else None
    spec = PartitionSpec(batch, heads)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False
    )(q, k, v)


def _plain(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    examples, _, _, width = q.shape
    return _grouped(q.reshape(examples, k.shape[1], -1, width), k, v).reshape(q.shape)


@jax.custom_vjp
def _grouped(q_BxGxRLxK: jax.Array, k_BxGxLxK: jax.Array, v_BxGxLxK: jax.Array) -> jax.Array:
    """Attends with the query heads that share keys concatenated as more positions."""
    return _forward(q_BxGxRLxK, k_BxGxLxK, v_BxGxLxK)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[Any, ...]]:
    scores = _dot(q, k, (3, 3)).astype(jnp.float32)
    rows, length = scores.shape[2:]
    seen = np.tile(np.tril(np.ones((length, length), bool)), (rows // length, 1))
    scores = jnp.where(seen, scores, _LEAST)
    powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    p_BxGxRLxL = (powers * (1 / jnp.sum(powers, axis=-1, keepdims=True))).astype(q.dtype)
    mixed = _dot(p_BxGxRLxL, v, (3, 2))
    return mixed, (q, k, v, p_BxGxRLxL, mixed)


def _backward(kept: tuple[Any, ...], d_mixed: jax.Array) -> tuple[jax.Array, ...]:
    q, k, v, p, mixed = kept
    d_v = _dot(p, d_mixed, (2, 2))
    d_p = _dot(d_mixed, v, (3, 3)).astype(jnp.float32)
    along = jnp.sum((d_mixed * mixed).astype(jnp.float32), axis=-1, keepdims=True)
    d_scores = (p * (d_p - along)).astype(q.dtype)
    return _dot(d_scores, k, (3, 2)), _dot(d_scores, q, (2, 2)), d_v


_grouped.defvjp(_forward, _backward)


def _dot(left: jax.Array, right: jax.Array, over: tuple[int, int]) -> jax.Array:
    """A product for each example and head, over one axis of each."""
    dims = (((over[0],), (over[1],)), ((0, 1), (0, 1)))
    return jax.lax.dot_general(left, right, dimension_numbers=dims)
