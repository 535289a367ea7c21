"""Compares the chips that JAX finds with those that the environment and the experiment expect.

A slice with a missing host, or with chips that another process uses, is reported before the first
step.
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

_CORES_PER_CHIP = {"v2": 2, "v3": 2, "v4": 2, "v5p": 2, "v5litepod": 1, "v5e": 1, "v6e": 1}
"""Units that the number in an accelerator type counts for each chip: v5p-8 has 4 chips, v6e-8 has 8
(Cloud TPU's pages on v5p and v6e, read 2026-11-24). For other kinds only the topology is used."""


def check_devices(sizes: Sizes, batches: Iterable[int]) -> None:
    """Checks that JAX sees all chips of the slice, and enough devices for the mesh of each run.

    Args:
        sizes: ``[train] mesh``.
        batches: Numbers of examples that the runs compute at once.

    Raises:
        ScalaxError: States the expected chips, the source of that number, and the actual chips.
    """
    devices = jax.devices()
    expected = expected_chips(os.environ)
    if expected is not None:
        chips, source = expected
        actual = count_chips(devices)
        if actual != chips:
            raise ScalaxError(
                f"expected {chips} TPU chips (by {source}), but JAX reports {actual} "
                f"({len(devices)} x {devices[0].device_kind}, {jax.process_count()} processes)",
                where="the devices",
                fix="start the same command on every host of the slice, with no other process on "
                "its chips; unset JAX_PLATFORMS, or set it to cpu to train without them",
            )
    for batch in sorted(set(batches)):
        usable_devices(sizes, batch)


def expected_chips(environment: Mapping[str, str]) -> tuple[int, str] | None:
    """Returns the TPU chips of this job over all slices, and the source; None if unknown.

    Example:
        >>> expected_chips({"TPU_ACCELERATOR_TYPE": "v5p-16"})
        (8, 'TPU_ACCELERATOR_TYPE=v5p-16')
        >>> expected_chips({"TPU_TOPOLOGY": "4x4", "MEGASCALE_NUM_SLICES": "2"})
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
    if kind in _CORES_PER_CHIP and number.isdecimal():
        chips = int(number) // _CORES_PER_CHIP[kind]
        return chips * int(slices), f"TPU_ACCELERATOR_TYPE={kind}-{number}{more}"
    return None


def count_chips(devices: Sequence[Any]) -> int:
    """Returns the number of TPU chips of these devices; some chips have two devices."""
    tpu = [device for device in devices if device.platform == "tpu"]
    return len({(getattr(device, "slice_index", 0), *device.coords) for device in tpu})
