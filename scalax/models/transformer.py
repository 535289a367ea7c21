"""The `transformer` family: decoder-only language models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from scalax.models.compute import Compute
from scalax.models.sized import SizedFamily
from scalax.schema import Settings
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
            head_dim = recipe.head_dim(self.base_width)  # the same at all widths
        return Fixed(self.width, self.layers, self.heads, head_dim, self.hidden)

    def recipe(self, usual: TransformerRecipe) -> TransformerRecipe:
        if self.ratio is not None:
            usual = replace(usual, ratio=self.ratio, ratio_exponent=0.0, ratio_most=self.ratio)
        if self.mlp_ratio is not None:
            usual = replace(usual, mlp=self.mlp_ratio, mlp_gated=self.mlp_ratio)
        return usual


class Transformer(SizedFamily):
    """Decoders with RMSNorm before each layer, rotary positions and grouped-query attention.

    Options of ``[model]``:

    - ``mlp``: "gated" (default) or "plain".
    - ``tied``: whether the head shares the embedding.
    - ``kv_groups``: query heads per key-value head.
    - ``width`` (= heads x head_dim), ``layers``, ``heads``, ``head_dim``, ``hidden`` (width of the
      MLP): dimensions to fix. The search chooses the others to meet the size.
    - ``ratio`` (width / layers), ``mlp_ratio`` (hidden / width): proportions that the search
      prefers, in place of the recipe's.
    - ``parametrisation``: "standard" or "mup"; ``base_width``: see below.

    "mup" is the maximal-update parametrisation of Tensor Programs V (arXiv:2203.03466, table 8). It
    equals the standard one at ``base_width``, and the learning rate of that width applies at all
    widths. In a model m times as wide, under Adam:

    - Hidden matrices learn at 1 / m of the rate; embedding, norms and head at the full rate.
    - Logits are divided by m, and the head's initial variance is that of the base width.
    - Attention scores are scaled by 1 / head_dim, and all widths have the same head_dim unless the
      options fix it.
    - Weight decay is not divided by m: rate x decay is the same at all widths, as in the authors'
      MuAdamW.

    The parametrisation does not depend on depth: residual branches start as in the standard one.
    """

    usual: ClassVar[TransformerRecipe] = USUAL
    options: ClassVar[type[Settings]] = _Options
    size_options: ClassVar[tuple[str, ...]] = ("width", "layers")

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

    def search(self, params: float | None, options: _Options, data: DataSpec) -> TransformerShape:
        """Returns the transformer of a target size; see `SizedFamily.search`."""
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
        """Returns exact parameter counts."""
        return counts(shape)

    def flops_per_unit(self, shape: TransformerShape) -> float:
        """Returns training FLOPs per token, with causal attention."""
        return train_flops(shape)

    def flops_computed(self, shape: TransformerShape) -> float:
        """Returns training FLOPs per token, including the scores that the causal mask hides."""
        return train_flops(shape, "full")

    def recipe(self, shape: TransformerShape, units: float, data: DataSpec) -> Recipe:
        """Returns the hyperparameters of `scalax.shapes.transformer_recipe`."""
        params = self.counts(shape).params
        mup = self.transfers_rate(shape)
        return self.usual.hyperparameters(params, units, data.units_per_example, mup=mup)

    def transfers_rate(self, shape: TransformerShape) -> bool:
        """Returns whether the shape has the maximal-update parametrisation."""
        return shape.base_width is not None

    def build(self, shape: TransformerShape, *, rngs: Any, compute: Compute) -> Any:
        """Builds the module; see `scalax.models.decoder.Decoder`."""
        from scalax.models.decoder import Decoder

        return Decoder(shape, rngs=rngs, compute=compute)

    def sums(self, module: Any, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns the summed next-token cross-entropy in nats and the number of tokens."""
        from scalax.models.decoder import next_token_sums

        return next_token_sums(module, batch)
