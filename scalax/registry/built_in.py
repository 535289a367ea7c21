"""Names of the built-in laws, model families and datasets, and where each is defined.

Targets are strings, as in entry points, so that a command imports only the plugin that it uses.
"""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["law", "model", "dataset"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BUILT_IN = "built-in"
"""Origin of the built-in entries."""

TARGETS: dict[Kind, dict[str, str]] = {
    "law": {
        "bounded": "scalax.laws.bounded:Bounded",
        "broken-power": "scalax.laws.broken_power:BrokenPower",
        "chinchilla": "scalax.laws.chinchilla:Chinchilla",
        "data-constrained": "scalax.laws.data_constrained:DataConstrained",
        "joint": "scalax.laws.joint:Joint",
        "kaplan": "scalax.laws.kaplan:Kaplan",
        "learning-curve": "scalax.laws.learning_curve:LearningCurve",
        "loss-to-accuracy": "scalax.laws.downstream:LossToAccuracy",
        "loss-to-error": "scalax.laws.downstream:LossToError",
        "m4": "scalax.laws.m4:M4",
        "moe": "scalax.laws.moe:MixtureOfExperts",
        "overtraining": "scalax.laws.overtraining:Overtraining",
        "power-flops": "scalax.laws.power:PowerFlops",
        "power-params": "scalax.laws.power:PowerParams",
        "power-tokens": "scalax.laws.power:PowerTokens",
        "precision": "scalax.laws.precision:Precision",
    },
    "model": {"transformer": "scalax.models.transformer:Transformer"},
    "dataset": {
        "stdlib": "scalax.data.stdlib:Stdlib",
        "text": "scalax.data.text:Text",
        "tfds": "scalax.data.tfds:TfdsText",
    },
}
