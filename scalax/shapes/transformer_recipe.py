"""The transformer's recipe: its proportions and hyperparameters as functions of size and data.

One object whose fields are the constants of those functions, each with its source; whatever an
experiment file gives in [model], [recipe] or [train] replaces it. No jax.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalax.laws.power_product import PowerProduct
from scalax.laws.recipes import TRANSFORMER, TRANSFORMER_MUP
from scalax.shapes.base import Recipe, examples_of


@dataclass(frozen=True)
class TransformerRecipe:
    """How a transformer follows from its parameters N and tokens D.

    Attributes:
        head_dims: Width of a head, from which width of the model on.
        ratio: Width for each layer at width 64.
        ratio_exponent: How that ratio grows with width.
        ratio_most: Where it stops: at 128, as in GPT-3 (arXiv:2005.14165, table 2.1: from 64 to
            128 over its sizes).
        mlp: Widths of the model in the width of a plain MLP (Vaswani et al. 2017).
        mlp_gated: The same of a gated one, whose three matrices then count as much as the plain
            one's two (Shazeer 2020, arXiv:2002.05202).
        learning_rate: In the standard parametrisation; `scalax.laws.recipes.TRANSFORMER`.
        learning_rate_mup: At the base width under the maximal-update parametrisation, which
            scales it to other widths; `scalax.laws.recipes.TRANSFORMER_MUP`.
        learning_rate_most: Neither goes higher.
        batch_tokens: From the same law, rounded to a power of two of sequences.
        warmup: Of the steps of the shortest run.
        weight_decay: Of matrices, a constant as in LLaMA (arXiv:2302.13971). With D in
            proportion to N, these laws make its time scale 1 / (learning rate x decay) grow as
            N^0.41 and the steps as N^0.43, so that it stays a fixed share of training, as Wang and
            Aitchison 2024 (arXiv:2405.13698) find best.
        beta1: Of Adam, as there.
        beta2: Of Adam, as there. Marek et al. 2025 (arXiv:2507.07101) and Marin's recipes hold its
            half-life fixed in tokens instead: ``[recipe] beta2_tokens``.
        clip: Of the gradient's global norm, as there.
    """

    head_dims: tuple[tuple[int, int], ...] = ((8, 8), (64, 16), (256, 32), (512, 64), (2048, 128))
    ratio: float = 32.0
    ratio_exponent: float = 1 / 3
    ratio_most: float = 128.0
    mlp: float = 4.0
    mlp_gated: float = 8 / 3
    learning_rate: PowerProduct = TRANSFORMER.learning_rate
    learning_rate_mup: PowerProduct = TRANSFORMER_MUP.learning_rate
    learning_rate_most: float = TRANSFORMER.learning_rate_max
    batch_tokens: PowerProduct = TRANSFORMER.batch_tokens
    warmup: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0

    def head_dim(self, width: int) -> int:
        """The usual width of a head.

        Example:
            >>> TransformerRecipe().head_dim(768)
            64
        """
        return [dim for least, dim in self.head_dims if width >= least][-1]

    def width_per_layer(self, width: int) -> float:
        """The ideal ratio of width to layers."""
        return min(self.ratio_most, self.ratio * (width / 64) ** self.ratio_exponent)

    def hidden(self, width: int, gated: bool) -> int:
        """The usual width of the MLP, in whole steps."""
        step = self.hidden_step(width)
        return max(1, round((self.mlp_gated if gated else self.mlp) * width / step)) * step

    def hidden_step(self, width: int) -> int:
        """What an MLP's width is a multiple of: what matrix units of 8, 64 or 128 fill."""
        return 8 if width < 256 else 64 if width < 2048 else 128

    def hyperparameters(
        self, params: float, tokens: float, seq_len: int, *, mup: bool = False
    ) -> Recipe:
        """What to train with.

        Args:
            params: All parameters.
            tokens: Training tokens.
            seq_len: Tokens in a sequence.
            mup: Whether under the maximal-update parametrisation.

        Example:
            >>> found = TransformerRecipe().hyperparameters(1e8, 2e9, 1024)
            >>> found.batch, round(found.learning_rate, 6)
            (128, 0.000453)
        """
        at = {"params": params, "tokens": tokens, "flops": 6 * params * tokens}
        rate = (self.learning_rate_mup if mup else self.learning_rate)(**at)
        return Recipe(
            batch=examples_of(float(self.batch_tokens(**at)), seq_len),
            learning_rate=min(self.learning_rate_most, float(rate)),
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            beta1=self.beta1,
            beta2=self.beta2,
            clip=self.clip,
        )


USUAL = TransformerRecipe()
"""What the family uses where an experiment says nothing else."""
