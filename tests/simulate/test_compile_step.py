"""The real train step, compiled by the TPU's compiler for slices that are not present."""

from __future__ import annotations

import pytest

pytest.importorskip("libtpu", reason="the TPU's compiler comes with the extra tpu")

from scalax.errors import ScalaxError
from scalax.models.transformer import Transformer
from scalax.shapes.base import DataSpec, Feature
from scalax.shapes.transformer import TransformerShape
from scalax.shapes.transformer_search import shape_for
from scalax.simulate.compile_step import CompiledStep, compile_step, tpu_devices

VOCAB, LENGTH = 32_000, 2_048
GIB = 2**30
DATA = DataSpec(
    name="text", unit="tokens", units_per_example=LENGTH,
    features={"tokens": Feature((LENGTH + 1,), "int32")},
    classes=VOCAB, train_examples=1, eval_examples=1, fingerprint="",
)  # fmt: skip
SMALL = TransformerShape(
    vocab=1024, width=256, layers=2, heads=2, kv_heads=2, head_dim=128, hidden=512, gated=True,
    tied=False, seq_len=LENGTH,
)  # fmt: skip


def compiled(topology: str, mesh: dict[str, int], batch: int, shape=None) -> CompiledStep:
    shape = shape or shape_for(1.3e9, vocab=VOCAB, seq_len=LENGTH)
    return compile_step(
        Transformer(), shape, DATA, devices=tpu_devices(topology), mesh=mesh, batch=batch
    )


# Memory of a chip: docs.cloud.google.com/tpu/docs/v5e, v5p and v6e (16, 95 and 32 GB).
CASES = [
    pytest.param("v5e:4x4", {"fsdp": 16}, 64, 16, 16, marks=pytest.mark.slow),
    pytest.param("v5e:16x16", {"data": 16, "fsdp": 16}, 256, 256, 16, marks=pytest.mark.slow),
    pytest.param("v5p:4x4x8", {"data": 8, "fsdp": 16}, 256, 128, 95, marks=pytest.mark.group),
    pytest.param("v6e:4x4", {"fsdp": 16}, 64, 16, 32, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("topology", "mesh", "batch", "chips", "memory_gb"), CASES)
def test_a_step_of_1_3_billion_parameters_fits(topology, mesh, batch, chips, memory_gb) -> None:
    result = compiled(topology, mesh, batch)
    print(f"{topology} {mesh} batch {batch}: {result.bytes_per_device / GIB:.2f} GiB a device")
    assert result.fits
    assert result.chips == result.devices == chips
    # Parameters and two moments in float32, divided over fsdp, are the least that it can take.
    assert 12 * 1.29e9 / mesh["fsdp"] < result.bytes_per_chip < memory_gb * 1e9
    assert any("splash" in name and "fwd" in name for name in result.kernels)
    assert any("splash" in name and "dkv" in name for name in result.kernels)


@pytest.mark.group
def test_a_step_whose_temporaries_alone_are_too_many_says_by_how_much() -> None:
    result = compiled("v5e:2x4", {"data": 8}, 64)
    assert not result.fits
    assert result.limit is not None and 15 * GIB < result.limit < 16 * GIB
    assert result.over == result.bytes_per_device - result.limit
    assert result.bytes_per_device > 12 * 1.29e9  # the replicated state alone


@pytest.mark.slow
@pytest.mark.parametrize(("topology", "devices"), [("v4:2x2x1", 4), ("tpu7x:2x2x1", 8)])
def test_the_bytes_of_a_chip_are_those_of_all_its_devices(topology: str, devices: int) -> None:
    result = compiled(topology, {"fsdp": devices}, 16, SMALL)
    assert (result.devices, result.chips) == (devices, 4)
    assert result.bytes_per_chip == result.bytes_per_device * devices // 4


@pytest.mark.slow
def test_a_tensor_mesh_keeps_the_kernel_where_it_divides_the_heads() -> None:
    result = compiled("v5e:2x2", {"fsdp": 2, "tensor": 2}, 16, SMALL)
    assert any("splash" in name for name in result.kernels)


def test_an_unknown_topology_says_what_to_write() -> None:
    with pytest.raises(ScalaxError, match="write v5e:4x4"):
        tpu_devices("v5e:3x7")
