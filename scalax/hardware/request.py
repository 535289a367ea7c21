"""Simulates a step described in text: the name of a slice, a mesh, a batch in tokens."""

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
"""Vocabulary of a model that is described by its size alone."""


def step_from_request(
    arch: TransformerShape,
    chips: str,
    *,
    mesh: str | None = None,
    batch_tokens: float | None = None,
    precision: str = "bf16",
    recompute: Recompute | None = None,
    chips_file: str | None = None,
) -> Step:
    """Returns the requested step; `best_step` searches for whatever is None.

    Args:
        arch: The model.
        chips: A slice, such as ``v5e-256``.
        mesh: A mesh, such as ``fsdp=16,tensor=4``.
        batch_tokens: Tokens in the global batch.
        precision: Precision of the matrix products.
        recompute: What the backward pass recomputes.
        chips_file: A TOML file with a user's own chips.

    Raises:
        ScalaxError: A value is invalid, or the chips do not divide it; the fix gives valid values.
    """
    slice_ = parse_slice(chips, read_chips(chips_file))
    slice_.chip.peak_flops(precision)
    return best_step(
        arch,
        slice_,
        layout=parse_mesh(mesh) if mesh is not None else None,
        batch=None if batch_tokens is None else _whole_sequences(batch_tokens, arch.seq_len),
        precision=precision,
        recompute=recompute,
    )


@dataclass(frozen=True)
class SimulatedModel:
    """A model to simulate.

    Attributes:
        architecture: Its architecture, for the step model.
        family: The registered family that trains it, or None if scalax has none.
        shape: The family's own shape of the model.
    """

    architecture: TransformerShape
    family: Any = None
    shape: Any = None


def model_of_size(family: str, params: float, seq_len: int, vocab: int = VOCAB) -> SimulatedModel:
    """Returns the model of a family with a number of parameters.

    A family whose shape is not a `TransformerShape` needs a method ``architecture`` that turns
    its shape into a `TransformerShape`.

    Args:
        family: Name of the family.
        params: Number of parameters.
        seq_len: Tokens in a sequence.
        vocab: Size of the vocabulary.

    Raises:
        ScalaxError: The family or the size does not exist, or the family cannot be simulated.
    """
    from scalax import registry

    if not 1 <= params < math.inf:
        raise ScalaxError(
            f"expected a number of 1 or more, got {params:g}", where="params", fix="write 1.3e9"
        )
    registered = registry.get("model", family)
    shape = registered.shape(params, {}, token_data(vocab, seq_len))
    if hasattr(registered, "architecture"):
        described = registered.architecture(shape)
    elif isinstance(shape, TransformerShape):
        described = shape
    else:
        raise ScalaxError(
            f"the family {family!r} has no description that can be simulated",
            where="--family",
            fix="add a method architecture(shape) to the family, or write --family transformer",
        )
    return SimulatedModel(described, registered, shape)


def token_data(vocab: int, seq_len: int) -> DataSpec:
    """Returns the spec of token data, without any data behind it."""
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


def _whole_sequences(tokens: float, seq_len: int) -> int:
    """Returns the number of sequences in a batch of tokens."""
    if not (math.isfinite(tokens) and tokens >= 1 and tokens % seq_len == 0):
        near = seq_len * max(1, round(tokens / seq_len)) if math.isfinite(tokens) else seq_len
        raise ScalaxError(
            f"expected a multiple of {seq_len} (the sequence length), got {tokens:.12g} tokens",
            where="--batch-tokens",
            fix=f"write {near}, or change --seq-len",
        )
    return int(tokens) // seq_len
