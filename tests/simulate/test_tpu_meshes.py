"""Meshes on real TPU topologies: axes that share a wire of the network, and several slices."""

from __future__ import annotations

import pytest

pytest.importorskip("libtpu", reason="the topologies come with the extra tpu")

from scalax.errors import ScalaxError
from scalax.simulate.compile_step import tpu_devices
from scalax.train.mesh import make_mesh


@pytest.mark.parametrize(
    ("topology", "sizes"),
    [
        ("v6e:4x4", {"data": 2, "fsdp": 8}),
        ("v5p:2x2x2", {"fsdp": 4, "tensor": 2}),
        ("v4:2x2x2", {"fsdp": 8}),
        ("tpu7x:2x2x1", {"fsdp": 8}),
    ],
)
def test_an_axis_may_take_part_of_one_of_the_networks(topology: str, sizes) -> None:
    mesh = make_mesh(sizes, 64, tpu_devices(topology))
    assert {axis: size for axis, size in mesh.shape.items() if size > 1} == sizes


def test_slices_are_crossed_by_data_alone() -> None:
    mesh = make_mesh({"data": 2, "fsdp": 16}, 64, tpu_devices("v5e:4x4", 2))
    for row, devices in enumerate(mesh.devices[:, :, 0, 0]):
        assert {device.slice_index for device in devices} == {row}


def test_slices_need_an_axis_of_the_batch() -> None:
    with pytest.raises(ScalaxError, match="write data = 2"):
        make_mesh({"tensor": 32}, 64, tpu_devices("v5e:4x4", 2))
