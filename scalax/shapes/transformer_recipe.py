"""The transformer's recipe: proportions and hyperparameters as functions of size and data.

The fields of one object are the constants of these functions, each with its source. The sections
[model], [recipe] and [train] of an experiment replace them. No jax.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalax.laws.power_product import PowerProduct
from scalax.laws.recipes import TRANSFORMER, TRANSFORMER_MUP
from scalax.shapes.base import Recipe, examples_of


@dataclass(frozen=True)
class TransformerRecipe:
    """Proportions and hyperparameters of a transformer of N parameters trained on D tokens.

    Attributes:
        head_dims: Pairs (smallest width of the model, width of a head), by growing width.
        ratio: Ratio of width to layers at width 64.
        ratio_exponent: Exponent with which the ratio grows with width.
        ratio_most: Maximum ratio: 128, as in GPT-3 (arXiv:2005.14165, table 2.1: from 64 to 128
            over its sizes).
        mlp: Ratio of a plain MLP's width to the model's (Vaswani et al. 2017).
        mlp_gated: The same ratio for a gated MLP, whose three matrices then have as many parameters
            as the two of a plain one (Shazeer 2020, arXiv:2002.05202).
        learning_rate: Law of the learning rate in the standard parametrisation;
            `scalax.laws.recipes.TRANSFORMER`.
        learning_rate_mup: Law of the learning rate at the base width in the maximal-update
            parametrisation, which transfers it to other widths;
            `scalax.laws.recipes.TRANSFORMER_MUP`.
        learning_rate_most: Maximum learning rate in both parametrisations.
        batch_tokens: Law of the batch in tokens, with the same source as ``learning_rate``. The
            batch is rounded to a power of two sequences.
        warmup: Warm-up as a share of the steps of the shortest run.
        weight_decay: Decay of matrices, a constant as in LLaMA (arXiv:2302.13971). With D
            proportional to N, these laws make its time scale 1 / (learning rate x decay) grow as
            N^0.41 and the steps as N^0.43. The time scale thus stays a nearly fixed share of
            training, which Wang and Aitchison 2024 (arXiv:2405.13698) find best.
        beta1: First-moment decay of Adam, as in LLaMA.
        beta2: Second-moment decay of Adam, as in LLaMA. Marek et al. 2025 (arXiv:2507.07101) and
            Marin's recipes fix its half-life in tokens instead: ``[recipe] beta2_tokens``.
        clip: Maximum global norm of the gradient, as in LLaMA.
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
        """Returns the usual width of a head.

        Example:
            >>> TransformerRecipe().head_dim(768)
            64
        """
        return [dim for minimum, dim in self.head_dims if width >= minimum][-1]

    def width_per_layer(self, width: int) -> float:
        """Returns the ideal ratio of width to layers."""
        return min(self.ratio_most, self.ratio * (width / 64) ** self.ratio_exponent)

    def hidden(self, width: int, gated: bool) -> int:
        """Returns the usual width of the MLP, a multiple of `hidden_step`."""
        step = self.hidden_step(width)
        return max(1, round((self.mlp_gated if gated else self.mlp) * width / step)) * step

    def hidden_step(self, width: int) -> int:
        """Returns the step of the MLP's width: 8, 64 or 128, to fill the matrix units."""
        return 8 if width < 256 else 64 if width < 2048 else 128

    def hyperparameters(
        self, params: float, tokens: float, seq_len: int, *, mup: bool = False
    ) -> Recipe:
        """Returns the hyperparameters of a run.

        Args:
            params: All parameters.
            tokens: Training tokens.
            seq_len: Tokens in a sequence.
            mup: Whether the model has the maximal-update parametrisation.

        Example:
            >>> recipe = TransformerRecipe().hyperparameters(1e8, 2e9, 1024)
            >>> recipe.batch, round(recipe.learning_rate, 6)
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
"""The recipe that the family uses by default."""
