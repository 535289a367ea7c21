"""Records that describe data, architectures and their costs.

Plain records; no jax, and no arithmetic beyond what a field's meaning needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Feature:
    """One array of an example, without the batch axis.

    Attributes:
        shape: Its shape.
        dtype: Its NumPy dtype's name.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class DataSpec:
    """What a model must know of a dataset, and what a run records of it.

    Attributes:
        name: The dataset's name.
        unit: What training data is counted in: tokens, or examples for data without tokens.
        units_per_example: Units in one example: the sequence length, or 1.
        features: The arrays of one example.
        classes: Size of the target's alphabet: the vocabulary, or the number of labels.
        train_examples: Distinct examples to train on.
        eval_examples: Held-out examples.
        fingerprint: Hash of the content: equal fingerprints are equal data.
    """

    name: str
    unit: Literal["tokens", "examples"]
    units_per_example: int
    features: Mapping[str, Feature]
    classes: int
    train_examples: int
    eval_examples: int
    fingerprint: str

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Counts:
    """Exact parameter counts of an architecture.

    Attributes:
        params: All of them.
        params_embedding: Those of token embeddings (and of a head tied to them).
        params_active: Those that one token uses; below ``params`` in a mixture of experts.
    """

    params: int
    params_embedding: int
    params_active: int


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters as a family sets them for a size and an amount of data.

    Attributes:
        batch: Examples in a batch.
        learning_rate: Peak learning rate.
        optimizer: ``adamw`` or ``sgd``.
        warmup: Warm-up, as a share of the shortest run's steps.
        weight_decay: Decoupled weight decay (adamw), applied to matrices only.
        beta1: First-moment decay (adamw), or momentum (sgd).
        beta2: Second-moment decay (adamw).
        clip: Greatest global norm of the gradient; None for no clipping.
    """

    batch: int
    learning_rate: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    warmup: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float | None = 1.0


@dataclass(frozen=True)
class Trial:
    """What a model family is checked on: small sizes, on data that is always there.

    Attributes:
        params: Sizes, each of which a shape meets within 10 %; the smallest is built and trained.
        data: The keys of ``[data]``, ``dataset`` among them.
        model: The family's own keys of ``[model]``.
        steps: Batches of 16 examples after which the held-out loss has fallen by 1 % or more.

    Example:
        >>> Trial([1e4, 1e5], data={"dataset": "stdlib", "seq_len": 32}).steps
        60
    """

    params: Sequence[float]
    data: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 60


def examples_of(batch_units: float, units_per_example: int) -> int:
    """A batch in examples: the nearest power of two, so that it divides among devices.

    Args:
        batch_units: Tokens (or examples) in a batch.
        units_per_example: Of them in one example.

    Example:
        >>> examples_of(100_000, 1024), examples_of(10, 1024)
        (128, 1)
    """
    return 2 ** max(0, round(math.log2(batch_units / units_per_example)))
