"""The `transformer` family: decoder-only language models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from scalax.models.base import ModelFamily, require_features
from scalax.models.compute import Compute
from scalax.schema import Settings, parse
from scalax.shapes.base import Counts, DataSpec, Recipe, Trial
from scalax.shapes.transformer import TransformerShape, counts, train_flops
from scalax.shapes.transformer_recipe import USUAL, TransformerRecipe
from scalax.shapes.transformer_search import Fixed, shape_for


class _Options(Settings):
    mlp: str = Field("gated", pattern="^(gated|plain)$")
    tied: bool = False
    kv_groups: int = Field(1, ge=1)
    width: int | None = Field(None, ge=1)
    layers: int | None = Field(None, ge=1)
    heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=1)
    ratio: float | None = Field(None, gt=0, allow_inf_nan=False)
    mlp_ratio: float | None = Field(None, gt=0, allow_inf_nan=False)
    parametrisation: Literal["standard", "mup"] = "standard"
    base_width: int = Field(64, ge=8)

    def fixed(self, recipe: TransformerRecipe) -> Fixed:
        head_dim = self.head_dim
        if self.parametrisation == "mup" and head_dim is None and self.heads is None:
            head_dim = recipe.head_dim(self.base_width)  # the same at every width
        return Fixed(self.width, self.layers, self.heads, head_dim, self.hidden)

    def recipe(self, usual: TransformerRecipe) -> TransformerRecipe:
        if self.ratio is not None:
            usual = replace(usual, ratio=self.ratio, ratio_exponent=0.0, ratio_most=self.ratio)
        if self.mlp_ratio is not None:
            usual = replace(usual, mlp=self.mlp_ratio, mlp_gated=self.mlp_ratio)
        return usual


class Transformer(ModelFamily):
    """Pre-norm RMSNorm, rotary positions, gated or plain MLP, grouped-query attention.

    Options of ``[model]``: ``mlp`` = "gated" or "plain", ``tied`` (the head shares the embedding),
    ``kv_groups`` (query heads to a key-value head); and ``width`` (= heads x head_dim), ``layers``,
    ``heads``, ``head_dim`` and ``hidden`` (width of the MLP), each fixed where it is given, the
    others searched to meet the size, near ``ratio`` (width / layers) and ``mlp_ratio``
    (hidden / width).

    ``parametrisation`` = "mup" is the maximal-update one of Tensor Programs V (arXiv:2203.03466,
    table 8): the learning rate is that of ``base_width``, where both parametrisations are one.
    Of a model m times as wide, under Adam, hidden matrices learn at 1 / m of it; embedding, norms
    and head at all of it; logits are divided by m, the head's initial variance is that of the
    base; scores are scaled by 1 / d, heads are as wide at any width unless set otherwise. Weight
    decay is not divided by m: rate x decay is the same at all widths, as in the authors' MuAdamW.
    It is of width alone: with depth, the residual branches start as in the standard one.
    """

    usual: ClassVar[TransformerRecipe] = USUAL

    name: ClassVar[str] = "transformer"
    title: ClassVar[str] = "decoder-only transformer over tokens"
    features: ClassVar[tuple[str, ...]] = ("tokens",)
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
        require_features(self, data)
        recipe = options.recipe(self.usual)
        shape = shape_for(
            params,
            vocab=data.classes,
            seq_len=data.units_per_example,
            gated=options.mlp == "gated",
            tied=options.tied,
            kv_groups=options.kv_groups,
            fixed=options.fixed(recipe),
            recipe=recipe,
        )
        if options.parametrisation == "standard":
            return shape
        base = options.base_width
        return replace(shape, base_width=base, base_head_dim=recipe.head_dim(base))

    def counts(self, shape: TransformerShape) -> Counts:
        """Exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: TransformerShape) -> float:
        """Training FLOPs per token, attention counted causal."""
        return train_flops(shape)

    def flops_computed(self, shape: TransformerShape) -> float:
        """With the scores that the causal mask hides, which a product by blocks cannot spare."""
        return train_flops(shape, "full")

    def recipe(self, shape: TransformerShape, units: float, data: DataSpec) -> Recipe:
        """Hyperparameters as `scalax.shapes.transformer_recipe` says, with its sources."""
        params = self.counts(shape).params
        mup = self.transfers_rate(shape)
        return self.usual.hyperparameters(params, units, data.units_per_example, mup=mup)

    def transfers_rate(self, shape: TransformerShape) -> bool:
        """Whether in the maximal-update parametrisation."""
        return shape.base_width is not None

    def build(self, shape: TransformerShape, *, rngs: Any, compute: Compute) -> Any:
        """The module; see `scalax.models.decoder.Decoder`."""
        from scalax.models.decoder import Decoder

        return Decoder(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Summed next-token cross-entropy in nats, over the tokens predicted."""
        from scalax.models.decoder import next_token_sums

        return next_token_sums(module, batch)
