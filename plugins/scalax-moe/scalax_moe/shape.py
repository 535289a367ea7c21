"""A mixture-of-experts transformer as numbers: its shape, counts, FLOPs, and the shape for a size.

Arithmetic on plain numbers; it never imports jax. All but the experts is a dense transformer's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import scalax as sx

_CANDIDATES = 48  # dense sizes tried for one target, evenly spaced in their logarithm
_NEAR = 0.02  # so near a target all shapes are alike, and the one of the usual experts is taken


@dataclass(frozen=True)
class MoeShape:
    """A decoder-only transformer whose MLPs are experts, of which each token takes a few.

    Attributes:
        dense: The same transformer with one expert; its ``hidden`` is an expert's width.
        experts: Experts in each layer.
        top_k: Experts that a token is sent to.
        capacity: Places that all experts together have for a sequence, as a multiple of its
            tokens times ``top_k``; what finds no place passes by on the residual stream.
        balance: Weight of the load-balancing loss.
    """

    dense: sx.TransformerShape
    experts: int
    top_k: int
    capacity: float
    balance: float

    @property
    def places(self) -> int:
        """Tokens of one sequence that one expert takes at most."""
        s = self.dense
        return min(s.seq_len, math.ceil(self.capacity * self.top_k * s.seq_len / self.experts))

    @property
    def expert_params(self) -> int:
        """Parameters of one expert."""
        return (3 if self.dense.gated else 2) * self.dense.width * self.dense.hidden


def counts(shape: MoeShape) -> sx.Counts:
    """Exact counts; of the experts, ``top_k`` a layer are active.

    Example:
        >>> c = counts(shape_for(1e6, vocab=256, seq_len=128, experts=8, top_k=2))
        >>> c.params, c.params_active
        (994960, 303760)
    """
    s = shape
    dense = sx.transformer_counts(s.dense)
    routers = s.dense.layers * s.dense.width * s.experts
    experts = s.dense.layers * s.expert_params
    return sx.Counts(
        params=dense.params + routers + (s.experts - 1) * experts,
        params_embedding=dense.params_embedding,
        params_active=dense.params + routers + (s.top_k - 1) * experts,
    )


def flops_per_token(shape: MoeShape, *, computed: bool = False) -> float:
    """Training FLOPs per token: each matrix product forward, and twice that backward.

    Args:
        shape: The architecture.
        computed: Whether to count what a step computes: experts on all their places, filled or
            not, and the scores that the causal mask hides. By default a token's own experts
            and the scores it sees. Finding places, gathering and adding up are never counted.
    """
    s = shape
    experts = s.experts * s.places / s.dense.seq_len if computed else s.top_k
    router = 2 * s.dense.width * s.experts
    forward = sx.forward_flops(s.dense, "full" if computed else "causal")
    return 3 * (forward + s.dense.layers * (router + (experts - 1) * 2 * s.expert_params))


def shape_for(
    params: float | None,
    *,
    vocab: int,
    seq_len: int,
    experts: int,
    top_k: int,
    capacity: float = 2.0,
    balance: float = 0.01,
    tied: bool = True,
    kv_groups: int = 1,
    fixed: sx.FixedShape | None = None,
) -> MoeShape:
    """The mixture of a target size: all parameters within 10 % of it, experts as wide as usual.

    Args:
        params: Target for all parameters; None for what ``fixed`` comes to.
        vocab: Size of the vocabulary.
        seq_len: Tokens in a sequence.
        experts: Experts in each layer.
        top_k: Experts that a token is sent to.
        capacity: See `MoeShape`.
        balance: See `MoeShape`.
        tied: Whether the head shares the embedding.
        kv_groups: Query heads to a key-value head.
        fixed: What is not searched; see `sx.FixedShape`.

    Raises:
        ScalaxError: No mixture of so many experts comes within 10 %.
    """
    if top_k > experts:
        raise sx.ScalaxError(
            f"a token cannot be sent to {top_k} of {experts} experts",
            where="model.top_k",
            fix=f"give at most {experts}",
        )
    fixed = fixed or sx.FixedShape()

    def mixture(dense_params: float | None, fixed: sx.FixedShape) -> MoeShape:
        dense = sx.transformer_shape(
            dense_params, vocab=vocab, seq_len=seq_len, tied=tied, kv_groups=kv_groups, fixed=fixed
        )
        return MoeShape(dense, experts, top_k, capacity, balance)

    if params is None:
        return mixture(None, fixed)
    stretch: dict[MoeShape, float] = {}

    def candidates() -> Iterator[MoeShape]:
        for size in np.geomspace(params / experts / 2, 1.05 * params, _CANDIDATES):
            try:
                dense = mixture(float(size), fixed).dense
            except sx.ScalaxError:  # no dense transformer of this size; others may exist
                continue
            usual = mixture(None, replace(fixed, width=dense.width, layers=dense.layers))
            shape = usual if fixed.hidden else _with_hidden_for(usual, params)
            stretch[shape] = abs(math.log(shape.dense.hidden / usual.dense.hidden))
            yield shape

    return sx.nearest_shape(
        params,
        candidates(),
        lambda shape: counts(shape).params,
        cost=lambda shape, distance: (max(distance, _NEAR), stretch[shape]),
        what=f"mixture of {experts} experts",
        none="the vocabulary is larger",
        fix="ask for another size, or fewer experts",
    )


def _with_hidden_for(shape: MoeShape, params: float) -> MoeShape:
    """The experts made up to a third wider or narrower, where that brings the count nearer."""
    dense, step = shape.dense, 8
    a_unit = (3 if dense.gated else 2) * dense.layers * dense.width * shape.experts
    wanted = dense.hidden + (params - counts(shape).params) / a_unit
    hidden = round(min(max(wanted, 0.75 * dense.hidden), 4 / 3 * dense.hidden) / step) * step
    return replace(shape, dense=replace(dense, hidden=max(step, hidden)))
