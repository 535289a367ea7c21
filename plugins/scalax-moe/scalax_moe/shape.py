"""Shape, parameter counts and FLOPs of a mixture-of-experts transformer, and its size search.

The file does arithmetic on plain numbers and never imports jax. Everything but the experts is the
same as in a dense transformer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

import scalax as sx

_CANDIDATES = 48  # dense sizes to try for one target, evenly spaced in their logarithm
_NEAR = 0.02  # shapes within 2 % of the target count as equal; the usual expert width decides


@dataclass(frozen=True)
class MoeShape:
    """A decoder-only transformer whose MLPs are experts; each token is sent to a few of them.

    Attributes:
        dense: The same transformer with one expert; its ``hidden`` is an expert's width.
        experts: Experts in each layer.
        top_k: Experts that each token is sent to.
        capacity: Slots of all experts together for a sequence, as a multiple of its tokens times
            ``top_k``. A choice that finds no free slot is dropped.
        balance: Weight of the load-balancing loss.
    """

    dense: sx.TransformerShape
    experts: int
    top_k: int
    capacity: float
    balance: float

    @property
    def slots(self) -> int:
        """Most tokens of one sequence that one expert takes."""
        s = self.dense
        return min(s.seq_len, math.ceil(self.capacity * self.top_k * s.seq_len / self.experts))

    @property
    def expert_params(self) -> int:
        """Parameters of one expert."""
        return (3 if self.dense.gated else 2) * self.dense.width * self.dense.hidden


def counts(shape: MoeShape) -> sx.Counts:
    """Returns exact counts; ``top_k`` experts of each layer are active.

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
    """Returns training FLOPs per token: each matrix product forward, and twice that backward.

    Args:
        shape: The architecture.
        computed: Whether to count all that a step computes, empty slots and masked scores included.
            The default counts a token's own experts and the scores it sees. Routing, gathering and
            adding results are never counted.
    """
    s = shape
    experts = s.experts * s.slots / s.dense.seq_len if computed else s.top_k
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
    """Returns a mixture with total parameters within 10 % of a target size.

    Args:
        params: Target for all parameters; None for the shape that ``fixed`` determines.
        vocab: Size of the vocabulary.
        seq_len: Tokens in a sequence.
        experts: Experts in each layer.
        top_k: Experts that each token is sent to.
        capacity: See `MoeShape`.
        balance: See `MoeShape`.
        tied: Whether the head shares the embedding.
        kv_groups: Query heads that share one key-value head.
        fixed: Sizes that are given and not searched; see `sx.FixedShape`.

    Raises:
        ScalaxError: ``top_k`` exceeds ``experts``, or no mixture comes within 10 %.
    """
    if top_k > experts:
        raise sx.ScalaxError(
            f"a token cannot be sent to {top_k} of {experts} experts",
            where="model.top_k",
            fix=f"write {experts} or less",
        )
    fixed = fixed or sx.FixedShape()

    def mixture(dense_params: float | None, fixed: sx.FixedShape) -> MoeShape:
        dense = sx.transformer_shape(
            dense_params, vocab=vocab, seq_len=seq_len, tied=tied, kv_groups=kv_groups, fixed=fixed
        )
        return MoeShape(dense, experts, top_k, capacity, balance)

    if params is None:
        return mixture(None, fixed)

    def candidates() -> Iterator[MoeShape]:
        for size in np.geomspace(params / experts / 2, 1.05 * params, _CANDIDATES):
            try:
                dense = mixture(float(size), fixed).dense
            except sx.ScalaxError:  # this size has no dense transformer; try the others
                continue
            usual = usual_of(dense)
            yield usual if fixed.hidden else _with_hidden_for(usual, params)

    def usual_of(dense: sx.TransformerShape) -> MoeShape:
        return mixture(None, replace(fixed, width=dense.width, layers=dense.layers))

    def cost(shape: MoeShape, distance: float) -> tuple[float, float]:
        stretch = abs(math.log(shape.dense.hidden / usual_of(shape.dense).dense.hidden))
        return max(distance, _NEAR), stretch

    return sx.nearest_shape(
        params,
        candidates(),
        lambda shape: counts(shape).params,
        cost=cost,
        what=f"mixture of {experts} experts",
        none="the vocabulary is larger",
        fix="ask for another size, or fewer experts",
    )


def _with_hidden_for(shape: MoeShape, params: float) -> MoeShape:
    """Returns the mixture with experts up to a third wider or narrower, nearer to the target."""
    dense, step = shape.dense, 8
    params_per_unit = (3 if dense.gated else 2) * dense.layers * dense.width * shape.experts
    ideal = dense.hidden + (params - counts(shape).params) / params_per_unit
    hidden = round(min(max(ideal, 0.75 * dense.hidden), 4 / 3 * dense.hidden) / step) * step
    return replace(shape, dense=replace(dense, hidden=max(step, hidden)))
