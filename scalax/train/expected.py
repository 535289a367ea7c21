"""Holds the chips that jax found against those that the environment and the experiment expect.

A slice of which a host is missing, or whose chips another process keeps, is told before the first
step rather than trained on in part.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from scalax.errors import ScalaxError
from scalax.train.mesh import Sizes
from scalax.train.place import usable_devices

_CORES_A_CHIP = {"v2": 2, "v3": 2, "v4": 2, "v5p": 2, "v5litepod": 1, "v5e": 1, "v6e": 1}
"""What the number in an accelerator type counts: v5p-8 has 4 chips, v6e-8 has 8 (Cloud TPU's pages
on v5p and v6e, read 2026-11-24). Of other kinds the topology alone is believed."""


def check_devices(sizes: Sizes, batches: Iterable[int]) -> None:
    """Demands the chips of the whole slice, and as many devices as the mesh of each run needs.

    Args:
        sizes: ``[train] mesh``.
        batches: Examples that the runs compute at once.

    Raises:
        ScalaxError: Says what is expected, by whom, and what was found.
    """
    found = jax.devices()
    expected = chips_expected(os.environ)
    if expected is not None:
        chips, why = expected
        there = chips_among(found)
        if there != chips:
            raise ScalaxError(
                f"expected {chips} TPU chips, by {why}, and jax found {there} "
                f"({len(found)} x {found[0].device_kind}, {jax.process_count()} processes)",
                where="the devices",
                fix="start the same command on every host of the slice, with no other process on "
                "its chips; unset JAX_PLATFORMS, or set it to cpu to train without them",
            )
    for batch in sorted(set(batches)):
        usable_devices(sizes, batch)


def chips_expected(environment: Mapping[str, str]) -> tuple[int, str] | None:
    """TPU chips of this job over all its slices, and what says so; None where nothing does.

    Example:
        >>> chips_expected({"TPU_ACCELERATOR_TYPE": "v5p-16"})
        (8, 'TPU_ACCELERATOR_TYPE=v5p-16')
        >>> chips_expected({"TPU_TOPOLOGY": "4x4", "MEGASCALE_NUM_SLICES": "2"})
        (32, 'TPU_TOPOLOGY=4x4, MEGASCALE_NUM_SLICES=2')
    """
    if environment.get("JAX_PLATFORMS", "").startswith("cpu"):
        return None
    slices = environment.get("MEGASCALE_NUM_SLICES", "1")
    more = f", MEGASCALE_NUM_SLICES={slices}" if slices != "1" else ""
    topology = environment.get("TPU_TOPOLOGY", "")
    if re.fullmatch(r"\d+(x\d+)+", topology):
        chips = math.prod(map(int, topology.split("x")))
        return chips * int(slices), f"TPU_TOPOLOGY={topology}{more}"
    kind, _, number = environment.get("TPU_ACCELERATOR_TYPE", "").rpartition("-")
    if kind in _CORES_A_CHIP and number.isdecimal():
        chips = int(number) // _CORES_A_CHIP[kind]
        return chips * int(slices), f"TPU_ACCELERATOR_TYPE={kind}-{number}{more}"
    return None


def chips_among(devices: Sequence[Any]) -> int:
    """TPU chips that the devices lie on: some chips are two devices."""
    tpu = [device for device in devices if device.platform == "tpu"]
    return len({(getattr(device, "slice_index", 0), *device.coords) for device in tpu})
