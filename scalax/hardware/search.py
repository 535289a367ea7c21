"""Searches for the fastest train step that fits in memory: mesh, batch and recomputation."""

from __future__ import annotations

from collections.abc import Iterator

from scalax.errors import ScalaxError
from scalax.hardware.layout import Layout, layouts
from scalax.hardware.names import RECOMPUTE, Recompute
from scalax.hardware.slices import Slice
from scalax.hardware.step import Step, cost, simulate_step
from scalax.shapes.transformer import TransformerShape

MOST_TOKENS = 2**24
"""Largest batch searched, in tokens: the batch of Llama 3 405B (Dubey et al. 2024, table 4)."""
_NEARLY_FASTEST = 0.99
"""The search returns the smallest batch that reaches this share of the highest speed."""


def best_step(
    arch: TransformerShape,
    slice_: Slice,
    *,
    layout: Layout | None = None,
    batch: int | None = None,
    precision: str = "bf16",
    recompute: Recompute | None = None,
) -> Step:
    """Returns the step with the most tokens per second among those that fit in memory.

    Args:
        arch: The architecture.
        slice_: The chips.
        layout: The mesh; None searches for it.
        batch: Examples in the global batch; None searches up to `MOST_TOKENS`.
        precision: Precision of the matrix products.
        recompute: What the backward pass recomputes; None searches for it.

    Returns:
        The fastest step that fits, or the step that needs least memory if none fits.

    Raises:
        ScalaxError: No mesh divides the slice, the architecture and the batch.
    """
    policies: tuple[Recompute, ...] = (recompute,) if recompute else RECOMPUTE
    if layout is not None and batch is not None:
        steps = [
            simulate_step(arch, slice_, layout, batch, precision=precision, recompute=policy)
            for policy in policies
        ]
        return _choose(steps)
    candidates = [layout] if layout else layouts(slice_, arch)
    if layout is not None:  # raises if the mesh is invalid
        simulate_step(arch, slice_, layout, layout.batch_parts, precision=precision)
    steps = [
        cost(arch, slice_, candidate, examples, precision=precision, recompute=policy)
        for candidate in candidates
        for examples in _batches(arch, candidate, batch)
        for policy in policies
    ]
    if not steps:
        raise ScalaxError(
            f"no mesh over {slice_.name} divides this architecture"
            + (f" and a batch of {batch} sequences" if batch else ""),
            where="--batch-tokens" if batch else "--chips",
            fix="choose a batch that the number of chips divides, or fewer chips",
        )
    return _choose(steps)


def _choose(steps: list[Step]) -> Step:
    fitting = [step for step in steps if step.fits]
    if not fitting:
        return min(steps, key=lambda step: step.bytes.total)
    fastest = max(step.tokens_per_second_per_chip for step in fitting)
    fast = [s for s in fitting if s.tokens_per_second_per_chip >= _NEARLY_FASTEST * fastest]
    smallest = min(step.batch for step in fast)
    return max(
        (step for step in fast if step.batch == smallest),
        key=lambda step: step.tokens_per_second_per_chip,
    )


def _batches(arch: TransformerShape, layout: Layout, batch: int | None) -> Iterator[int]:
    """Yields batches that the mesh divides: the given one, or doublings from one per part."""
    if batch is not None:
        if batch % layout.batch_parts == 0:
            yield batch
        return
    size = layout.batch_parts
    while size == layout.batch_parts or size * arch.seq_len <= MOST_TOKENS:
        yield size
        size *= 2
