"""A simulated step from words: a slice's name, a mesh as text, a batch in tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scalax.errors import ScalaxError
from scalax.hardware.chips import read_chips
from scalax.hardware.layout import parse_mesh
from scalax.hardware.names import Recompute
from scalax.hardware.search import best_step
from scalax.hardware.slices import parse_slice
from scalax.hardware.step import Step
from scalax.shapes.base import DataSpec, Feature
from scalax.shapes.transformer import TransformerShape

VOCAB = 32_000
"""Of a model that is described by its size alone."""


def ask(
    arch: TransformerShape,
    chips: str,
    *,
    mesh: str | None = None,
    batch_tokens: float | None = None,
    precision: str = "bf16",
    recompute: Recompute | None = None,
    chips_file: str | None = None,
) -> Step:
    """The step that was asked for; what is None is searched, as `best_step` says.

    Args:
        arch: The model.
        chips: A slice, such as ``v5e-256``.
        mesh: Such as ``fsdp=16,tensor=4``.
        batch_tokens: Tokens in the whole batch.
        precision: Of the matrix products.
        recompute: What the backward pass computes again.
        chips_file: A user's own chips.

    Raises:
        ScalaxError: A word is wrong, or does not divide; says what would work.
    """
    slice_ = parse_slice(chips, read_chips(chips_file))
    slice_.chip.peak_flops(precision)
    return best_step(
        arch,
        slice_,
        layout=parse_mesh(mesh) if mesh is not None else None,
        batch=None if batch_tokens is None else _sequences(batch_tokens, arch.seq_len),
        precision=precision,
        recompute=recompute,
    )


@dataclass(frozen=True)
class Model:
    """A model as it was described.

    Attributes:
        architecture: What is simulated.
        family: The registered family that trains it; None where scalax has none.
        shape: That family's own shape of it.
    """

    architecture: TransformerShape
    family: Any = None
    shape: Any = None


def of_size(family: str, params: float, seq_len: int, vocab: int = VOCAB) -> Model:
    """The model that a family makes of a size.

    A family whose shapes are no `TransformerShape` is simulated where it has a method
    ``architecture`` from its shape to a `TransformerShape`.

    Args:
        family: Its name.
        params: The size.
        seq_len: Tokens in a sequence.
        vocab: Size of the vocabulary.

    Raises:
        ScalaxError: No such family, or no such size of it, or it is none that is simulated.
    """
    from scalax import registry

    if not 1 <= params < math.inf:
        raise ScalaxError(
            f"expected a number of 1 or more, got {params:g}", where="params", fix="write 1.3e9"
        )
    found = registry.get("model", family)
    shape = found.shape(params, {}, tokens_of(vocab, seq_len))
    if hasattr(found, "architecture"):
        described = found.architecture(shape)
    elif isinstance(shape, TransformerShape):
        described = shape
    else:
        raise ScalaxError(
            f"the family {family!r} does not say of what blocks it is made",
            where="--family",
            fix="give it a method architecture(shape), or write --family transformer",
        )
    return Model(described, found, shape)


def tokens_of(vocab: int, seq_len: int) -> DataSpec:
    """Data of tokens that need not exist."""
    return DataSpec(
        name="tokens",
        unit="tokens",
        units_per_example=seq_len,
        features={"tokens": Feature((seq_len + 1,), "int32")},
        classes=vocab,
        train_examples=1,
        eval_examples=1,
        fingerprint="",
    )


def _sequences(tokens: float, seq_len: int) -> int:
    """Whole sequences in a batch of so many tokens."""
    if not (math.isfinite(tokens) and tokens >= 1 and tokens % seq_len == 0):
        near = seq_len * max(1, round(tokens / seq_len)) if math.isfinite(tokens) else seq_len
        raise ScalaxError(
            f"{tokens:.12g} tokens are not whole sequences of {seq_len}",
            where="--batch-tokens",
            fix=f"write {near}, or another --seq-len",
        )
    return int(tokens) // seq_len
