"""Recorded and counted bytes against a new compilation for TPU (slow)."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("libtpu", reason="the TPU's compiler comes with the extra tpu")

from scalax import registry
from scalax.hardware.chips import read_chips
from scalax.hardware.layout import Layout
from scalax.hardware.request import SimulatedModel
from scalax.hardware.slices import parse_slice
from scalax.hardware.step import Step, simulate_step
from scalax.shapes.transformer import TransformerShape
from scalax.simulate.compile_step import CompiledStep
from scalax.simulate.step import compile_simulated
from tests.published_tpu import memory_cases, simulated

pytestmark = pytest.mark.slow

SHALLOW = TransformerShape(
    vocab=32000, width=1024, layers=8, heads=8, kv_heads=8, head_dim=128, hidden=2816, gated=True,
    tied=False, seq_len=2048,
)  # fmt: skip


def compiled(step: Step) -> CompiledStep:
    arch = step.architecture
    return compile_simulated(SimulatedModel(arch, registry.get("model", "transformer"), arch), step)


@pytest.mark.parametrize("case", memory_cases()[1:4], ids=lambda case: case["recompute"])
def test_the_compiler_still_says_what_was_recorded(case) -> None:
    step = simulated(case)
    result = compiled(step)
    assert result.fits == (case["fits"] == "true")
    assert result.bytes_per_device == pytest.approx(case["bytes"], rel=0.02)
    assert step.bytes.total == pytest.approx(result.bytes_per_device, rel=0.10)


def test_recomputing_a_shallow_model_saves_memory() -> None:
    kept = simulate_step(
        SHALLOW, parse_slice("v5e-4", read_chips()), Layout(fsdp=4), 32,
        recompute="none",
    )  # fmt: skip
    again = dataclasses.replace(kept, recompute="full")
    assert compiled(again).bytes_per_device < 0.6 * compiled(kept).bytes_per_device
