"""Adds a learning rate and a batch size to an allocation, from a published law of them."""

from __future__ import annotations

import dataclasses

from scalax.laws.hyperparameters import suggest
from scalax.predict.answers import Allocation

USUAL = "steplaw2025"


def recommend(answer: Allocation, law: str | None = None) -> Allocation:
    """The allocation with learning rate, batch and a note that names their law.

    Args:
        answer: An allocation; its training compute is what counts.
        law: The published law to ask; by default Step Law, fitted to the widest range of sizes
            and data apart.

    Returns:
        A copy; both stay None where the law's runs are too far away.
    """
    flops = answer.training_flops or answer.flops
    rate, batch, notes = suggest(answer.params, answer.tokens, flops, law or USUAL)
    return dataclasses.replace(
        answer, learning_rate=rate, batch_tokens=batch, notes=[*answer.notes, *notes]
    )
