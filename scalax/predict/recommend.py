"""Adds a learning rate and a batch size to an allocation, and a note that names their law.

In order of preference: the law that the paper of a published law gives; the law that the fit's own
sweep found; and of the laws below, the one whose runs are nearest to the allocation.

- ``scalax-transformer``: what `scalax run` trains a transformer with (`scalax.laws.recipes`).
- ``steplaw2025``: Step Law, fitted to the widest published range of sizes and data.

A sweep of transformers under muP gets ``scalax-transformer-mup`` instead: rates of the standard
parametrisation do not apply to it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalax.laws.power_product import HyperparameterLaw, PowerProduct
from scalax.laws.recipes import (
    TRANSFORMER,
    TRANSFORMER_MUP,
    TRANSFORMER_MUP_NAME,
    TRANSFORMER_NAME,
)
from scalax.predict.answers import Allocation

PUBLISHED = "steplaw2025"
"""The published law that is recommended at sizes far above those of `scalax run`'s recipe."""
FARTHEST = 100.0
"""Greatest factor outside a law's runs, in any variable, at which the law is still recommended."""
NEAR = 1.05
"""Factor outside a law's runs up to which a note doesn't mention the distance."""
TUNED_NAME = "hyperparameters.json"
"""Name of the laws that a sweep found; the file that it wrote them to."""
FAMILY = "transformer"
"""The model family whose recipe is ``scalax-transformer``."""
FAMILY_MUP = "transformer (mup)"
"""The same under the maximal-update parametrisation, as a sweep writes it to fit.json."""


@dataclass(frozen=True)
class HyperparameterSource:
    """A law of learning rate and batch size, and how a note names it.

    Attributes:
        name: Name of the law, as in a note and ``--json``.
        law: The law.
        about: What it was measured on, for the note.
    """

    name: str
    law: HyperparameterLaw
    about: str


@dataclass(frozen=True)
class TrainedBy:
    """What is known of how the runs behind a law were trained.

    Attributes:
        published: Published law whose paper gives hyperparameters; None where there is none.
        family: Model family of the sweep; None where unknown.
        tuned: Law of the best hyperparameters that the sweep itself found.
    """

    published: str | None = None
    family: str | None = None
    tuned: HyperparameterSource | None = None


UNKNOWN = TrainedBy()


def trained_by(settings: Mapping[str, Any]) -> TrainedBy:
    """Reads how the runs of a fit were trained from its settings.

    Args:
        settings: Settings of a fit. A sweep adds ``family`` and, where it varied learning rate or
            batch size, ``hyperparameters``: the laws that hyperparameters.json also has.
    """
    family = settings.get("family")
    laws = settings.get("hyperparameters")
    if not laws:
        return TrainedBy(family=family)
    recipe = _recipe(family)
    about = "found by the fit's own sweep"
    products = {}
    for name, usual in (
        ("learning_rate", recipe.law.learning_rate),
        ("batch_tokens", recipe.law.batch_tokens),
    ):
        numbers = laws.get(name)
        if numbers is None:
            about += f" ({name} by {recipe.name}, as the sweep did not vary it)"
        products[name] = usual if numbers is None else PowerProduct(**numbers)
    ranges = {name: (float(low), float(high)) for name, (low, high) in laws["ranges"].items()}
    law = HyperparameterLaw(products["learning_rate"], products["batch_tokens"], ranges)
    return TrainedBy(family=family, tuned=HyperparameterSource(TUNED_NAME, law, about))


def recommend(answer: Allocation, trained: TrainedBy = UNKNOWN) -> Allocation:
    """Returns the allocation with a learning rate, a batch size, and notes on their source.

    Args:
        answer: An allocation; the law is evaluated at its training compute.
        trained: How the runs behind the allocation were trained.

    Returns:
        A copy. Learning rate and batch size stay None where the allocation is more than `FARTHEST`
        times outside the runs of every law.
    """
    at = (answer.params, answer.tokens, answer.training_flops or answer.flops)
    source = _choose(trained, at)
    outside = source.law.outside(*at)
    notes = []
    rate = batch = None
    if outside > FARTHEST:
        notes.append(
            f"no learning rate or batch: the nearest law, {source.name}, was fitted to runs with "
            f"{_distance(source.law, at)}"
        )
    else:
        rate, batch = source.law(*at)
        notes.append(
            f"learning rate and batch by {source.name}, {source.about}{_beyond(source, at)}"
        )
        if trained.family == FAMILY_MUP:
            notes.append("the learning rate is that of the base width: muP scales it to others")
    notes += _difference_to_run(trained, source, at)
    return dataclasses.replace(
        answer,
        learning_rate=rate,
        batch_tokens=batch,
        hyperparameter_law=None if rate is None else source.name,
        notes=[*answer.notes, *notes],
    )


def _choose(trained: TrainedBy, at: tuple[float, float, float]) -> HyperparameterSource:
    if trained.published is not None:
        return _published(trained.published)
    if trained.tuned is not None:
        return trained.tuned
    recipe = _recipe(trained.family)
    if trained.family == FAMILY_MUP:
        return recipe
    return min((recipe, _published(PUBLISHED)), key=lambda source: source.law.outside(*at))


def _recipe(family: str | None) -> HyperparameterSource:
    """Returns the law that `scalax run` trains a transformer with."""
    if family == FAMILY_MUP:
        about = "the recipe of scalax run under muP"
        return HyperparameterSource(TRANSFORMER_MUP_NAME, TRANSFORMER_MUP, about)
    return HyperparameterSource(TRANSFORMER_NAME, TRANSFORMER, "the recipe of scalax run")


def _published(name: str) -> HyperparameterSource:
    from scalax.laws.published import get_published

    law = get_published(name).hyperparameters
    if law is None:
        raise LookupError(f"{name} has no hyperparameters")
    return HyperparameterSource(name, law, "of language models")


def _difference_to_run(
    trained: TrainedBy, source: HyperparameterSource, at: tuple[float, float, float]
) -> list[str]:
    """Returns a note where `scalax run` would train with other values than those recommended."""
    if trained.published is not None:
        return []
    if trained.family not in (None, FAMILY, FAMILY_MUP):
        return [
            f"the sweep trained {trained.family}, for which scalax run uses another recipe unless "
            "[recipe] or [train] sets learning rate and batch"
        ]
    if source.name in (TRANSFORMER_NAME, TRANSFORMER_MUP_NAME, TUNED_NAME):
        return []
    rate, batch = TRANSFORMER(*at)
    return [
        f"scalax run would train a transformer with a learning rate of {rate:.3g} and a batch of "
        f"{batch:.3g} tokens, by {TRANSFORMER_NAME}, from runs with "
        f"{_distance(TRANSFORMER, at) or 'such params and tokens'}"
    ]


def _beyond(source: HyperparameterSource, at: tuple[float, float, float]) -> str:
    distance = _distance(source.law, at)
    return f", from runs with {distance}" if distance else ""


def _distance(law: HyperparameterLaw, at: tuple[float, float, float]) -> str:
    """Returns how much smaller or larger the law's runs are, such as "10 times fewer params"."""
    parts = []
    for name, value in zip(("params", "tokens", "flops"), at, strict=True):
        low, high = law.ranges.get(name, (0.0, math.inf))
        if value > high * NEAR:
            parts.append(f"{_factor(value / high)} times fewer {name}")
        elif value * NEAR < low:
            parts.append(f"{_factor(low / value)} times more {name}")
    return " and ".join(parts)


def _factor(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"
