"""Computes causal attention with the best kernel of the device that the program is compiled for.

A TPU uses the Pallas splash kernel, and a GPU uses cuDNN's flash attention in half precision. Other
devices, and shapes that a kernel does not support, use matrix products with an explicit backward
pass, which is faster on a CPU than the derivative of a softmax.

Letters in names are dimensions: B batch, H query heads, G key-value heads, R = H / G query heads
per key-value head, L positions, K head width.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import spmd
from jax.sharding import PartitionSpec

from scalax.array_types import Float
from scalax.models.compute import platform

_MASKED_SCORE = -0.7 * float(np.finfo(np.float32).max)
_BLOCK = 512


def attend(
    q_BxHxLxK: Float[jax.Array, "B H L K"],
    k_BxGxLxK: Float[jax.Array, "B G L K"],
    v_BxGxLxK: Float[jax.Array, "B G L K"],
    scale: float,
) -> Float[jax.Array, "B H L K"]:
    """Averages values with softmax weights; each position sees itself and earlier positions.

    Args:
        q_BxHxLxK: Queries.
        k_BxGxLxK: Keys; G divides H.
        v_BxGxLxK: Values.
        scale: Factor of the scores.

    Returns:
        The weighted averages, in the dtype of the queries.
    """
    device, (_, _, length, width) = platform(), q_BxHxLxK.shape
    if device == "tpu" and length % 128 == 0 and width % 128 == 0:
        return _splash(q_BxHxLxK * scale, k_BxGxLxK, v_BxGxLxK)
    half = q_BxHxLxK.dtype in (jnp.bfloat16, jnp.float16)
    if device == "gpu" and half and width % 8 == 0 and width <= 128:
        qkv = (jnp.swapaxes(x, 1, 2) for x in (q_BxHxLxK, k_BxGxLxK, v_BxGxLxK))
        mixed = jax.nn.dot_product_attention(
            *qkv, scale=scale, is_causal=True, implementation="cudnn"
        )
        return jnp.swapaxes(mixed, 1, 2)
    return _plain(q_BxHxLxK * scale, k_BxGxLxK, v_BxGxLxK)


def _splash(
    q: Float[jax.Array, "B H L K"], k: Float[jax.Array, "B G L K"], v: Float[jax.Array, "B G L K"]
) -> Float[jax.Array, "B H L K"]:
    """Runs the Pallas kernel on each device's own batch rows and heads."""
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

    def per_device(
        q: Float[jax.Array, "b h L K"],
        k: Float[jax.Array, "b g L K"],
        v: Float[jax.Array, "b g L K"],
    ) -> Float[jax.Array, "b h L K"]:
        causal = masks.CausalMask((length, length))
        kernel = splash.make_splash_mha_single_device(
            masks.MultiHeadMask([causal] * q.shape[1]), block_sizes=sizes
        )
        return jax.vmap(kernel)(q, k, v)

    mesh = jax.sharding.get_abstract_mesh()
    batch, heads = spmd.get_pspec(("batch", "heads"))
    parts = 1 if heads is None else mesh.shape[heads]
    heads = heads if q.shape[1] % parts == 0 and k.shape[1] % parts == 0 else None
    spec = PartitionSpec(batch, heads)
    return jax.shard_map(
        per_device, mesh=mesh, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False
    )(q, k, v)


def _plain(
    q: Float[jax.Array, "B H L K"], k: Float[jax.Array, "B G L K"], v: Float[jax.Array, "B G L K"]
) -> Float[jax.Array, "B H L K"]:
    examples, _, _, width = q.shape
    return _grouped(q.reshape(examples, k.shape[1], -1, width), k, v).reshape(q.shape)


@jax.custom_vjp
def _grouped(
    q_BxGxRLxK: Float[jax.Array, "B G RL K"],
    k_BxGxLxK: Float[jax.Array, "B G L K"],
    v_BxGxLxK: Float[jax.Array, "B G L K"],
) -> Float[jax.Array, "B G RL K"]:
    """Attends with the query heads that share a key head concatenated along the positions."""
    return _forward(q_BxGxRLxK, k_BxGxLxK, v_BxGxLxK)[0]


def _forward(
    q: Float[jax.Array, "B G RL K"],
    k: Float[jax.Array, "B G L K"],
    v: Float[jax.Array, "B G L K"],
) -> tuple[Float[jax.Array, "B G RL K"], tuple[jax.Array, ...]]:
    scores = _dot(q, k, (3, 3)).astype(jnp.float32)
    rows, length = scores.shape[2:]
    visible = np.tile(np.tril(np.ones((length, length), bool)), (rows // length, 1))
    scores = jnp.where(visible, scores, _MASKED_SCORE)
    powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    p_BxGxRLxL = (powers * (1 / jnp.sum(powers, axis=-1, keepdims=True))).astype(q.dtype)
    mixed = _dot(p_BxGxRLxL, v, (3, 2))
    return mixed, (q, k, v, p_BxGxRLxL, mixed)


def _backward(
    residuals: tuple[jax.Array, ...], d_mixed: Float[jax.Array, "B G RL K"]
) -> tuple[jax.Array, ...]:
    q, k, v, p, mixed = residuals
    d_v = _dot(p, d_mixed, (2, 2))
    d_p = _dot(d_mixed, v, (3, 3)).astype(jnp.float32)
    row_sums = jnp.sum((d_mixed * mixed).astype(jnp.float32), axis=-1, keepdims=True)
    d_scores = (p * (d_p - row_sums)).astype(q.dtype)
    return _dot(d_scores, k, (3, 2)), _dot(d_scores, q, (2, 2)), d_v


_grouped.defvjp(_forward, _backward)


def _dot(
    left: Float[jax.Array, "B G l m"], right: Float[jax.Array, "B G n o"], axes: tuple[int, int]
) -> Float[jax.Array, "B G rows columns"]:
    """Multiplies matrices per example and head, summing over one axis of each."""
    dims = (((axes[0],), (axes[1],)), ((0, 1), (0, 1)))
    return jax.lax.dot_general(left, right, dimension_numbers=dims)
