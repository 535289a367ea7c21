"""Times of collectives against exact derivations: missing bytes over the bandwidth of the links."""

from __future__ import annotations

import pytest

from scalax.hardware.chips import read_chips
from scalax.hardware.layout import Layout
from scalax.hardware.network import Axis, place_axes
from scalax.hardware.slices import parse_slice

GIGABYTE = 1e9


def axes(chips: str, **sizes: int) -> dict[str, Axis]:
    return place_axes(Layout(**sizes), parse_slice(chips, read_chips()))


def test_a_ring_brings_what_is_lacking_both_ways_round() -> None:
    # 16 chips of a v5e pod's axis close to a ring: 2 x 50 GB/s, of which 0.8 are assumed; of
    # 1 GB each has a sixteenth. Plus 16 hops of a microsecond.
    ring = axes("v5e-256", fsdp=16, data=16)["fsdp"]
    assert ring.gather(GIGABYTE) == pytest.approx(15 / 16 * 1e9 / (0.8 * 100e9) + 16e-6)
    assert ring.all_reduce(GIGABYTE) == pytest.approx(2 * ring.gather(GIGABYTE))


def test_a_line_has_half_of_a_rings_speed_and_two_axes_twice_that_of_one() -> None:
    ring = axes("v5e-256", fsdp=16, data=16)["fsdp"].bandwidth
    line = axes("v5e-16", fsdp=4, data=4)["fsdp"].bandwidth  # 4 chips do not close
    whole = axes("v5e-256", fsdp=256)["fsdp"].bandwidth
    assert (line, whole) == (pytest.approx(ring / 2), pytest.approx(2 * ring))


def test_a_cube_has_three_rings() -> None:
    assert axes("v5p-128", fsdp=64)["fsdp"].bandwidth == pytest.approx(3 * 2 * 100e9 * 0.8)


def test_gpus_beyond_a_node_wait_for_its_network() -> None:
    inside = axes("h100-8", fsdp=8)["fsdp"]
    across = axes("h100-16", fsdp=16)["fsdp"]
    assert across.inside == 8
    # Each GPU fetches from the other node the half it lacks of its own eighth, at 400 Gbps.
    extra = 1e9 / 8 / 2 / (0.7 * 50e9) + 8e-6  # and eight hops more
    assert across.gather(GIGABYTE) == pytest.approx(inside.gather(GIGABYTE) + extra)


def test_slices_are_crossed_by_data_or_else_by_fsdp() -> None:
    assert axes("2xv5e-256", data=2, fsdp=256)["data"].inside == 1
    assert axes("2xv5e-256", fsdp=512)["fsdp"].inside == 256


def test_an_axis_of_one_costs_nothing() -> None:
    assert axes("v5e-4", data=4)["fsdp"].gather(GIGABYTE) == 0.0
    assert axes("v5e-4", data=4)["fsdp"].all_to_all(GIGABYTE) == 0.0
