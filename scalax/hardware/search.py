"""Finds the fastest way to run a step that fits: mesh, batch and recomputation, where left open."""

from __future__ import annotations

from collections.abc import Iterator

from scalax.errors import ScalaxError
from scalax.hardware.layout import Layout, layouts
from scalax.hardware.names import RECOMPUTE, Recompute
from scalax.hardware.slices import Slice
from scalax.hardware.step import Step, cost, simulate_step
from scalax.shapes.transformer import TransformerShape

MOST_TOKENS = 2**24
"""Largest batch searched, in tokens: that of Llama 3 405B (Dubey et al. 2024, table 4)."""
_NEAR = 0.99
"""Of the fastest, the smallest batch within one per cent is chosen."""


def best_step(
    arch: TransformerShape,
    slice_: Slice,
    *,
    layout: Layout | None = None,
    batch: int | None = None,
    precision: str = "bf16",
    recompute: Recompute | None = None,
) -> Step:
    """The step that trains most tokens a second, of those that fit.

    Args:
        arch: The architecture.
        slice_: The chips.
        layout: The mesh; searched where None.
        batch: Examples in the whole batch; where None, searched up to `MOST_TOKENS`.
        precision: Of the matrix products.
        recompute: What the backward pass computes again; searched where None.

    Returns:
        The fastest that fits; where none does, the one that needs least memory.

    Raises:
        ScalaxError: No mesh divides the slice, the architecture and the batch.
    """
    kept: tuple[Recompute, ...] = (recompute,) if recompute else RECOMPUTE
    if layout is not None and batch is not None:
        steps = [
            simulate_step(arch, slice_, layout, batch, precision=precision, recompute=again)
            for again in kept
        ]
        return _chosen(steps)
    tried = [layout] if layout else layouts(slice_, arch)
    if layout is not None:  # says what is wrong with it before anything is searched
        simulate_step(arch, slice_, layout, layout.batch_parts, precision=precision)
    steps = [
        cost(arch, slice_, each, examples, precision=precision, recompute=again)
        for each in tried
        for examples in _batches(arch, each, batch)
        for again in kept
    ]
    if not steps:
        raise ScalaxError(
            f"no mesh over {slice_.name} divides this architecture"
            + (f" and a batch of {batch} sequences" if batch else ""),
            where="--batch-tokens" if batch else "--chips",
            fix="give a batch that the chips divide, or fewer chips",
        )
    return _chosen(steps)


def _chosen(steps: list[Step]) -> Step:
    fitting = [step for step in steps if step.fits]
    if not fitting:
        return min(steps, key=lambda step: step.bytes.total)
    fastest = max(step.tokens_per_second_per_chip for step in fitting)
    near = [s for s in fitting if s.tokens_per_second_per_chip >= _NEAR * fastest]
    least = min(step.batch for step in near)
    return max(
        (step for step in near if step.batch == least),
        key=lambda step: step.tokens_per_second_per_chip,
    )


def _batches(arch: TransformerShape, layout: Layout, batch: int | None) -> Iterator[int]:
    """Whole batches that the mesh divides: the one given, or doublings of one sequence a part."""
    if batch is not None:
        if batch % layout.batch_parts == 0:
            yield batch
        return
    size = layout.batch_parts
    while size == layout.batch_parts or size * arch.seq_len <= MOST_TOKENS:
        yield size
        size *= 2
