"""Meshes: auto axes, the data axis across slices, and the number of chips."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from scalax.errors import ScalaxError
from scalax.train.expected import count_chips, expected_chips
from scalax.train.mesh import make_mesh, mesh_sizes


@dataclass(frozen=True)
class Chip:
    """The attributes of a device that a mesh reads."""

    id: int
    slice_index: int
    coords: tuple[int, int, int]
    process_index: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v9"  # a kind that JAX does not know

    @property
    def core_on_chip(self) -> int:
        return 0


def chips(slices: int, each: int) -> list[Any]:
    """Slices of chips in a row, shuffled: JAX does not promise an order."""
    devices = [Chip(100 * s + k, s, (k, 0, 0)) for k in range(each) for s in range(slices)]
    return devices[::-1]


def sizes(requested: Any, batch: int, devices: Any, processes: int = 1) -> tuple[int, ...]:
    return tuple(mesh_sizes(requested, batch, devices, processes).values())


@pytest.mark.parametrize(
    ("requested", "batch", "count", "processes", "expected"),
    [
        ("auto", 8, 8, 1, (8, 1, 1, 1)),
        ("auto", 6, 8, 1, (6, 1, 1, 1)),
        ("auto", 12, 8, 4, (4, 1, 1, 1)),
        ({"fsdp": "auto"}, 8, 8, 1, (1, 8, 1, 1)),
        ({"fsdp": "auto", "tensor": 2}, 4, 16, 1, (1, 4, 2, 1)),
        ({"data": 2, "fsdp": "auto"}, 12, 16, 1, (2, 6, 1, 1)),
        ({"data": 2, "tensor": "auto"}, 2, 8, 2, (2, 1, 4, 1)),
        ({"tensor": 3}, 8, 8, 1, (1, 1, 3, 1)),
    ],
)
def test_auto_takes_as_many_devices_as_divide(
    requested: Any, batch: int, count: int, processes: int, expected: tuple[int, ...]
) -> None:
    assert sizes(requested, batch, range(count), processes) == expected


@pytest.mark.parametrize(
    ("requested", "batch", "devices", "processes", "problem"),
    [
        (
            {"data": "auto", "fsdp": "auto"},
            8,
            range(8),
            1,
            "at most one auto axis, got data and fsdp",
        ),
        ({"rows": 2}, 8, range(8), 1, "unknown axis"),
        ({"fsdp": 16}, 16, range(8), 1, "needs 16 devices, but only 8 are available"),
        ({"fsdp": "auto", "tensor": 16}, 16, range(8), 1, "needs 16 devices, but only 8 are"),
        ({"data": 3}, 8, range(8), 1, "cannot divide a batch of 8 among 3"),
        ("auto", 3, range(8), 2, "cannot divide 1 devices among 2 processes with a batch of 3"),
        ({"fsdp": "auto"}, 8, chips(2, 4), 1, "cannot divide a data axis of 1 among 2 slices"),
    ],
)
def test_a_mesh_that_does_not_suit_the_devices_is_an_error(
    requested: Any, batch: int, devices: Any, processes: int, problem: str
) -> None:
    with pytest.raises(ScalaxError, match=problem):
        mesh_sizes(requested, batch, devices, processes)


@pytest.mark.parametrize("requested", ["auto", {"data": 4, "fsdp": 2}, {"data": 2, "fsdp": "auto"},
                                   {"data": 2, "tensor": 2}])  # fmt: skip
def test_the_data_axis_alone_crosses_slices(requested: Any) -> None:
    mesh = make_mesh(requested, 8, chips(2, 4))
    for row in mesh.devices.reshape(mesh.shape["data"], -1):
        assert len({chip.slice_index for chip in row}) == 1
    halves = mesh.devices.reshape(2, -1)  # each slice is contiguous along the data axis
    assert [len({chip.slice_index for chip in half}) for half in halves] == [1, 1]


def test_two_real_slices_of_a_tpu_are_crossed_by_the_data_axis_alone() -> None:
    pytest.importorskip("libtpu")
    code = """
import json
from jax.experimental import topologies
from scalax.train.expected import count_chips
from scalax.train.mesh import make_mesh
topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4", num_slices=2)
devices = topology.devices
mesh = make_mesh({"data": 4, "fsdp": "auto", "tensor": 2}, 16, devices)
rows = mesh.devices.reshape(4, -1)
print(json.dumps([
    dict(mesh.shape), count_chips(devices),
    [sorted({d.slice_index for d in row}) for row in rows],
    [max(abs(a - b) for a, b in zip(row[0].coords, row[1].coords)) for row in rows],
]))
"""
    environment = {
        "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "PATH": "",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    shape, count, slices, distances = json.loads(done.stdout)
    assert shape == {"data": 4, "fsdp": 2, "tensor": 2, "expert": 1}
    assert count == 16
    assert slices == [[0], [0], [1], [1]]
    assert (
        distances == [1] * 4
    )  # neighbours on the tensor axis are neighbours on the chip's network


def test_the_environment_says_how_many_chips_there_should_be() -> None:
    # v3-8 in a 2x2 topology is what GKE sets for four chips of two cores each.
    assert expected_chips({"TPU_ACCELERATOR_TYPE": "v3-8"})[0] == 4
    assert expected_chips({"TPU_ACCELERATOR_TYPE": "v3-8", "TPU_TOPOLOGY": "2x2"})[0] == 4
    assert expected_chips({"TPU_ACCELERATOR_TYPE": "v5litepod-16"})[0] == 16
    assert expected_chips({"TPU_ACCELERATOR_TYPE": "v6e-8", "MEGASCALE_NUM_SLICES": "2"})[0] == 16
    assert expected_chips({"TPU_TOPOLOGY": "4x4x8"})[0] == 128
    assert expected_chips({"TPU_ACCELERATOR_TYPE": "v99-8"}) is None
    assert expected_chips({}) is None
    assert expected_chips({"TPU_TOPOLOGY": "4x4", "JAX_PLATFORMS": "cpu"}) is None
    assert count_chips(chips(2, 4)) == 8
    assert count_chips([]) == 0
