"""Names of chips and slices: their numbers, their errors, and a user's own chips file."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.hardware.chips import known_device, read_chips
from scalax.hardware.slices import parse_slice


@pytest.mark.parametrize(
    ("name", "chips", "shape"),
    [
        # Google's documentation of each: the shape and the number of chips of a slice.
        ("v5e-256", 256, (16, 16)),
        ("v5e-16", 16, (4, 4)),
        ("v6e-8", 8, (2, 4)),
        ("v4-128", 64, (4, 4, 4)),
        ("v5p-128", 64, (4, 4, 4)),
        ("v5p-512", 256, (4, 8, 8)),
        ("v5p-12288", 6144, (16, 16, 24)),
        ("v7-256", 256, (4, 8, 8)),
        ("ironwood-64", 64, (4, 4, 4)),
        ("h100-64", 64, (64,)),
    ],
)
def test_a_slice_has_the_chips_of_its_name(name: str, chips: int, shape: tuple[int, ...]) -> None:
    result = parse_slice(name, read_chips())
    assert (result.chips, result.shape) == (chips, shape)


def test_several_slices_multiply() -> None:
    result = parse_slice("2xv5e-256", read_chips())
    assert (result.slices, result.chips, result.shape) == (2, 512, (16, 16))
    assert result.usd_per_hour == pytest.approx(512 * 1.20)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e-100", "v5e-64, v5e-128"),
        ("v5p-130", "two per chip"),
        ("v5e-512", "v5e-256"),
        ("h100-12", "h100-8, h100-16"),
        ("vv5e-16", "did you mean"),
        ("v5e", "write v5e-256"),
        ("0xv5e-16", "1 slice or more"),
    ],
)
def test_what_is_not_sold_is_refused_with_what_is_near(name: str, message: str) -> None:
    with pytest.raises(ScalaxError, match=message):
        parse_slice(name, read_chips())


def test_every_chip_names_its_sources_and_a_dated_price() -> None:
    for name, chip in read_chips().by_name.items():
        assert chip.sources, name
        assert (chip.usd_per_hour is None) == (chip.price_date is None), name
        assert chip.usable_bytes <= 1.01 * chip.memory_bytes, name


def test_a_file_of_ones_own_overrides_and_adds(tmp_path: Path) -> None:
    file = tmp_path / "chips.toml"
    file.write_text(
        """
[v5e]
usd_per_hour = 0.5

[mine]
title = "ours"
peak = { bf16 = 1e14 }
memory_bytes = 8e9
usable_bytes = 7000000000
memory_bandwidth = 1e11
topology = "nvlink"
link_bandwidth = 1e10
node = 4
dcn_bandwidth = 1e9
slices = ["1", "2", "4"]
most_chips = 64
achieved = { matmul = 0.5, memory = 0.5, network = 0.5 }
"""
    )
    chips = read_chips(str(file))
    assert parse_slice("v5e-4", chips).usd_per_hour == pytest.approx(2.0)
    assert parse_slice("v5e-4", chips).chip.peak_flops("bf16") == 197e12
    assert parse_slice("mine-8", chips).chips == 8


def test_a_file_that_is_wrong_says_where(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[v5e]\nusd_per_houre = 1.0\n")
    with pytest.raises(ScalaxError, match="did you mean 'usd_per_hour'"):
        read_chips(str(file))
    with pytest.raises(ScalaxError, match="cannot read"):
        read_chips(str(tmp_path / "none.toml"))


def test_precisions_that_a_chip_lacks_are_refused() -> None:
    v5e = parse_slice("v5e-4", read_chips()).chip
    assert v5e.peak_flops("int8") == 393e12
    with pytest.raises(ScalaxError, match="no matrix products in fp8"):
        v5e.peak_flops("fp8")


def test_devices_are_known_as_jax_names_them() -> None:
    v7 = known_device("TPU7x")
    assert v7 is not None
    assert v7.device_peak("bf16") == 2307e12 / 2  # two devices a chip
    assert known_device("TPU v5 lite") is read_chips().by_name["v5e"]
    assert known_device("abacus") is None
