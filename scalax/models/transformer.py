"""The `transformer` family: decoder-only language models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from scalax.errors import ScalaxError
from scalax.models.base import ModelFamily
from scalax.models.compute import Compute
from scalax.schema import Settings, parse
from scalax.shapes import transformer as shapes
from scalax.shapes.base import Counts, DataSpec, Recipe, Trial
from scalax.shapes.transformer import Fixed, TransformerShape


class _Options(Settings):
    mlp: str = Field("gated", pattern="^(gated|plain)$")
    tied: bool = False
    kv_groups: int = Field(1, ge=1)
    width: int | None = Field(None, ge=1)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=1)

    @property
    def fixed(self) -> Fixed:
        return Fixed(self.width, self.layers, self.heads, self.head_dim, self.hidden)


class Transformer(ModelFamily):
    """Pre-norm RMSNorm, rotary positions, gated or plain MLP, grouped-query attention.

    Options of ``[model]``: ``mlp`` = "gated" or "plain", ``tied`` (the head shares the embedding),
    ``kv_groups`` (query heads to a key-value head); and ``width`` (= heads x head_dim), ``layers``,
    ``heads``, ``head_dim`` and ``hidden`` (width of the MLP), each fixed where it is given, the
    others searched to meet the size asked for.
    """

    name: ClassVar[str] = "transformer"
    title: ClassVar[str] = "decoder-only transformer over tokens"
    trial: ClassVar[Trial] = Trial(
        (9e3, 2e4, 1e5, 1e6, 1e7), {"dataset": "stdlib", "seq_len": 32}, {"tied": True}
    )
    rules: ClassVar[Mapping[str, str | None]] = {
        "vocab": "tensor",
        "embed": "fsdp",
        "heads": "tensor",
        "kv_heads": "tensor",
        "mlp": "tensor",
        "head_dim": None,
        "layers": None,
        "norm": None,
    }

    def shape(self, params: float, options: Mapping[str, Any], data: DataSpec) -> TransformerShape:
        """The transformer of a target size; see `ModelFamily.shape`."""
        return self._shape(params, parse(_Options, options, where="model"), data)

    def size(self, options: Mapping[str, Any], data: DataSpec) -> float | None:
        """The size that ``width`` and ``layers`` come to; None without both of them."""
        parsed = parse(_Options, options, where="model")
        if parsed.width is None or parsed.layers is None:
            return None
        return float(self.counts(self._shape(None, parsed, data)).params)

    def _shape(self, params: float | None, options: _Options, data: DataSpec) -> TransformerShape:
        if "tokens" not in data.features:
            raise ScalaxError(
                f"needs data with a feature 'tokens'; {data.name} has {', '.join(data.features)}",
                where=f"model.family {self.name!r}",
                fix="choose another family or dataset",
            )
        return shapes.shape_for(
            params,
            vocab=data.classes,
            seq_len=data.units_per_example,
            gated=options.mlp == "gated",
            tied=options.tied,
            kv_groups=options.kv_groups,
            fixed=options.fixed,
        )

    def counts(self, shape: TransformerShape) -> Counts:
        """Exact parameter counts."""
        return shapes.counts(shape)

    def flops_per_unit(self, shape: TransformerShape) -> float:
        """Training FLOPs per token, attention counted causal."""
        return shapes.flops_per_token(shape, "causal")

    def flops_computed(self, shape: TransformerShape) -> float:
        """With the scores that the causal mask hides, which a product by blocks cannot spare."""
        return shapes.flops_per_token(shape, "full")

    def recipe(self, shape: TransformerShape, units: float, data: DataSpec) -> Recipe:
        """Learning rate and batch by the exponents of Step Law (Li et al. 2025, arXiv:2503.04715).

        batch = 0.58 D^0.571 tokens, as there, rounded to a power of two of sequences. Learning
        rate = 0.32 N^-0.713 D^0.307: their exponents met the best of three learning rates at
        40 to 640 thousand parameters and 0.5 and 1.5 million bytes, but their factor 1.79 was
        five to six times too high here (scalax run experiments/quickstart.toml --set
        "sweep.axes.learning_rate=[0.002,0.004,0.008]" --set "sweep.params=[160000]").
        """
        params = self.counts(shape).params
        sequences = 0.58 * units**0.571 / data.units_per_example
        return Recipe(
            batch=2 ** max(0, round(math.log2(sequences))),
            learning_rate=min(0.02, 0.32 * params**-0.713 * units**0.307),
        )

    def build(self, shape: TransformerShape, *, rngs: Any, compute: Compute) -> Any:
        """The module; see `scalax.models.decoder.Decoder`."""
        from scalax.models.decoder import Decoder

        return Decoder(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed next-token cross-entropy in nats, over the tokens predicted."""
        from scalax.models.decoder import next_token_sums

        return next_token_sums(module, batch)
