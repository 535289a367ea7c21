"""Records that describe data, parameter counts and hyperparameters, without jax."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Feature:
    """One array of an example, without the batch axis.

    Attributes:
        shape: Shape of the array.
        dtype: Name of its numpy dtype.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class DataSpec:
    """The description of a dataset that models read and runs record.

    Attributes:
        name: The dataset's name.
        unit: Unit of training data: tokens, or examples for data without tokens.
        units_per_example: Units in one example: the sequence length, or 1.
        features: The arrays of one example.
        classes: Number of values of the target: vocabulary size or number of labels.
        train_examples: Number of distinct training examples.
        eval_examples: Number of held-out examples.
        fingerprint: Hash of the content; datasets of equal fingerprints are equal.
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
        """Returns the record as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Counts:
    """Exact parameter counts of an architecture.

    Attributes:
        params: All parameters.
        params_embedding: Parameters of token embeddings, including a head tied to them.
        params_active: Parameters that one token uses; fewer than all in a mixture of experts.
    """

    params: int
    params_embedding: int
    params_active: int


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters that a family chooses for a size and an amount of data.

    Attributes:
        batch: Examples in a batch.
        learning_rate: Peak learning rate.
        optimizer: ``adamw`` or ``sgd``.
        warmup: Warm-up steps as a share of the steps of the shortest run.
        weight_decay: Decoupled weight decay (adamw), applied to matrices only.
        beta1: First-moment decay (adamw), or momentum (sgd).
        beta2: Second-moment decay (adamw).
        clip: Maximum global norm of the gradient; None for no clipping.
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
    """Small sizes and data, available on every machine, for `scalax plugins check` of a family.

    Attributes:
        params: Target sizes; a shape must exist within 10 % of each. The smallest is trained.
        data: Keys of ``[data]``, including ``dataset``.
        model: The family's own keys of ``[model]``.
        steps: Batches of 16 examples after which the held-out loss must have fallen by 1 %.

    Example:
        >>> Trial([1e4, 1e5], data={"dataset": "stdlib", "seq_len": 32}).steps
        60
    """

    params: Sequence[float]
    data: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 60


def examples_of(batch_units: float, units_per_example: int) -> int:
    """Returns a batch in examples, rounded to a power of two so that devices divide it.

    Args:
        batch_units: Tokens (or examples) in a batch.
        units_per_example: Tokens in one example, or 1.

    Example:
        >>> examples_of(100_000, 1024), examples_of(10, 1024)
        (128, 1)
    """
    return 2 ** max(0, round(math.log2(batch_units / units_per_example)))
