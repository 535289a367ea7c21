"""The `moe-transformer` family: decoder-only language models with sparse experts.

`shape` counts parameters and FLOPs; `module` is the network. Importing this file does not import
jax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

import scalax as sx
from scalax_moe.shape import MoeShape, counts, flops_per_token, shape_for


class _Options(sx.Settings):
    experts: int = Field(8, ge=1)
    top_k: int = Field(2, ge=1)
    capacity: float = Field(2.0, gt=0)
    balance: float = Field(0.01, ge=0)
    tied: bool = True
    kv_groups: int = Field(1, ge=1)
    width: int | None = Field(None, ge=1)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=1)

    @property
    def fixed(self) -> sx.FixedShape:
        return sx.FixedShape(self.width, self.layers, self.heads, self.head_dim, self.hidden)


class MoeTransformer(sx.SizedFamily):
    """scalax's transformer with every MLP replaced by a router and experts.

    Options of ``[model]``: ``experts`` (8), ``top_k`` (2), ``capacity`` (2), ``balance`` (0.01, the
    weight of the load-balancing loss), ``tied``, ``kv_groups``, and ``width``, ``layers``,
    ``heads``, ``head_dim`` and ``hidden`` (of one expert). Those that you give are fixed; the
    others are chosen to meet the target size.
    """

    interface: ClassVar[int] = 1
    name: ClassVar[str] = "moe-transformer"
    title: ClassVar[str] = "decoder-only transformer with sparse experts over tokens"
    options: ClassVar[type[sx.Settings]] = _Options
    size_options: ClassVar[tuple[str, ...]] = ("width", "layers")
    features: ClassVar[tuple[str, ...]] = ("tokens",)
    metrics: ClassVar[tuple[str, ...]] = ("loss", "balance", "dropped")
    trial: ClassVar[sx.Trial] = sx.Trial(
        (4e4, 1e5, 1e6, 1e7), {"dataset": "stdlib", "seq_len": 32}, {"experts": 4}
    )
    rules: ClassVar[Mapping[str, Any]] = {
        "vocab": "tensor",
        "embed": "fsdp",
        "heads": "tensor",
        "kv_heads": "tensor",
        "mlp": "tensor",
        "head_dim": None,
        "layers": None,
        "norm": None,
        "router": None,
        "expert": "expert",
        "expert_batch": ("data", "fsdp"),
    }

    def search(self, params: float | None, options: _Options, data: sx.DataSpec) -> MoeShape:
        """Returns the mixture of a target size; see `sx.SizedFamily.search`."""
        return shape_for(
            params,
            vocab=data.classes,
            seq_len=data.units_per_example,
            experts=options.experts,
            top_k=options.top_k,
            capacity=options.capacity,
            balance=options.balance,
            tied=options.tied,
            kv_groups=options.kv_groups,
            fixed=options.fixed,
        )

    def counts(self, shape: MoeShape) -> sx.Counts:
        """Returns exact parameter counts, total and active."""
        return counts(shape)

    def flops_per_unit(self, shape: MoeShape) -> float:
        """Returns training FLOPs per token, counting only the experts the token is sent to."""
        return flops_per_token(shape)

    def flops_computed(self, shape: MoeShape) -> float:
        """Returns training FLOPs per token, with empty expert slots and masked scores."""
        return flops_per_token(shape, computed=True)

    def recipe(self, shape: MoeShape, units: float, data: sx.DataSpec) -> sx.Recipe:
        """Returns the built-in transformer's recipe for the active parameter count."""
        active = counts(shape).params_active
        sequences = 0.58 * units**0.571 / data.units_per_example
        return sx.Recipe(
            batch=2 ** max(0, round(math.log2(sequences))),
            learning_rate=min(0.02, 0.32 * active**-0.713 * units**0.307),
        )

    def build(self, shape: MoeShape, *, rngs: Any, compute: sx.Compute) -> Any:
        """Builds the module; see `scalax_moe.module.MoeDecoder`."""
        from scalax_moe.module import MoeDecoder

        return MoeDecoder(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns cross-entropy in nats, balance and dropped choices, summed over tokens."""
        from scalax_moe.module import token_sums

        return token_sums(module, batch)
