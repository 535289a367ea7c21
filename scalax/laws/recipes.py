"""Laws of learning rate and batch size that scalax's own recipes train with.

The transformer's recipe (`scalax.shapes.transformer_recipe`) and the recommendation of an
allocation (`scalax.predict.recommend`) both read them here, so that they never disagree.
"""

from __future__ import annotations

from scalax.laws.power_product import HyperparameterLaw, PowerProduct

TRANSFORMER_NAME = "scalax-transformer"
"""Name of the law in notes and in ``--json``."""

TRANSFORMER = HyperparameterLaw(
    learning_rate=PowerProduct(0.32, params=-0.713, tokens=0.307),
    batch_tokens=PowerProduct(0.58, tokens=0.571),
    ranges={"params": (4e4, 6.4e5), "tokens": (5e5, 1.5e6)},
    learning_rate_max=0.02,
)
"""Hyperparameters of a transformer in the standard parametrisation.

The exponents are those of Step Law (Li et al. 2025, arXiv:2503.04715). They matched the best of
three learning rates at 40 to 640 thousand parameters and 0.5 to 1.5 million bytes, but its factor
of 1.79 was five to six times too high there:

    scalax run experiments/quickstart.toml --set "sweep.axes.learning_rate=[0.002,0.004,0.008]" \\
        --set "sweep.params=[160000]"

The batch size is Step Law's, of tokens alone, as Bergsma et al. 2025 (arXiv:2505.13738) also find.
"""

TRANSFORMER_MUP_NAME = "scalax-transformer-mup"
"""Name of the law under muP in notes and in ``--json``."""

TRANSFORMER_MUP = HyperparameterLaw(
    learning_rate=PowerProduct(0.008),
    batch_tokens=TRANSFORMER.batch_tokens,
    ranges={"params": (4e4, 4.6e5), "tokens": (3e5, 3e5)},
    learning_rate_max=TRANSFORMER.learning_rate_max,
)
"""Hyperparameters of a transformer under the maximal-update parametrisation (muP).

The learning rate is that of the base width; the parametrisation scales it to other widths. It was
the best of 0.002, 0.004, ... 0.064 at widths 32, 64 and 128, with base width 64, two layers and
300,000 bytes in batches of 1,024. The batch size is that of `TRANSFORMER`.
"""
