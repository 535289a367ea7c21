"""Calibrates the step model for this machine: `scalax simulate calibrate`.

It measures matrix products, memory and a sum over devices, then times real train steps of a few
sizes and fits the shares of the measured rates that a step reaches. The result has the format of
chips.toml and overrides it on this machine.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import platform
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalax.files import write_json
from scalax.hardware.chips import Achieved, Chip, calibration_file, known_device, read_chips
from scalax.hardware.layout import Layout
from scalax.hardware.slices import Slice
from scalax.hardware.step import cost
from scalax.schema import parse
from scalax.shapes.transformer_search import shape_for
from scalax.simulate.measure_device import TimedStep, measure_rates, time_steps

_SMALL = ((2e5, 256, 128, 16), (1e6, 256, 128, 32), (4e6, 256, 256, 16), (6e5, 512, 64, 64),
          (2e6, 4096, 128, 16), (1e7, 1024, 128, 16))  # fmt: skip
_LARGE = (
    (5e7, 32000, 1024, 8),
    (1.5e8, 32000, 1024, 8),
    (4e8, 32000, 2048, 4),
    (1e8, 32000, 512, 32),
)
"""Sizes to time on a CPU and on accelerators: params, vocabulary, sequence length, and sequences
per device."""
_SHARES = ("matmul", "memory", "softmax_seconds", "overhead_seconds")


def calibrate(report: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measures the devices of this process and stores the fitted constants.

    Args:
        report: Receives a line about each measurement.

    Returns:
        The stored entry of the chip: ``name``, ``chip`` (as in chips.toml), ``measured`` (the
        rates), ``steps`` (timed steps with simulated times), ``median_error`` and ``file``.

    Raises:
        ScalaxError: The file cannot be written, or chips.toml does not know the accelerator.
    """
    import jax

    devices = jax.devices()
    cpu = devices[0].platform == "cpu"
    precision = "f32" if cpu else "bf16"
    rates = measure_rates(devices, precision)
    for name, value in rates.items():
        report(f"{name:<26}{value:.3g} per device")
    name, base = _base_chip(devices, rates, precision)
    sizes = [
        (shape_for(params, vocab=vocab, seq_len=seq_len), sequences * len(devices))
        for params, vocab, seq_len, sequences in (_SMALL if cpu else _LARGE)
    ]
    report(f"timing train steps of {len(sizes)} sizes")
    timed = time_steps(sizes, precision)
    chip = fit_achieved(name, base, timed, len(devices), precision)
    seconds = simulated_seconds(name, chip, timed, len(devices), precision)
    steps = [
        {
            "shape": dataclasses.asdict(step.shape),
            "batch": step.batch,
            "seconds": step.seconds,
            "simulated": simulated,
        }
        for step, simulated in zip(timed, seconds, strict=True)
    ]
    errors = [abs(s / step.seconds - 1) for step, s in zip(timed, seconds, strict=True)]
    entry = {
        "chip": chip.model_dump(mode="json", exclude_none=True),
        "measured": rates,
        "steps": steps,
        "median_error": statistics.median(errors),
        "host": platform.node(),
        "date": datetime.date.today().isoformat(),
    }
    write_json(calibration_file(), {**_stored_entries(), name: entry})
    return {"name": name, **entry, "file": str(calibration_file())}


def fit_achieved(
    name: str, base: Chip, timed: Sequence[TimedStep], devices: int, precision: str
) -> Chip:
    """Returns the chip with the shares of its rates that reproduce the timed steps.

    A weak prior pulls each share to its starting value, so that a few timings cannot move it far.
    """
    from scipy.optimize import least_squares

    start = np.log([0.7, 0.5, 1e-9 if base.topology == "host" else 1e-12, 2e-5])
    measured = np.log([step.seconds for step in timed])

    def chip_at(logs: np.ndarray) -> Chip:
        values = dict(zip(_SHARES, map(float, np.exp(logs)), strict=True))
        fixed = {"network": 1.0, "attention": base.achieved.attention}
        achieved = parse(Achieved, {**fixed, **values}, where="calibration")
        return base.model_copy(update={"achieved": achieved})

    def residuals(logs: np.ndarray) -> np.ndarray:
        modelled = np.log(simulated_seconds(name, chip_at(logs), timed, devices, precision))
        return np.concatenate([modelled - measured, (logs - start) / 20])

    top = np.log([1.0, 1.0, 1e-6, 1e-2])
    solution = least_squares(
        residuals,
        np.minimum(start, top - 1e-3),
        bounds=(start - 6, top),
        loss="soft_l1",
        f_scale=0.1,
    )
    return chip_at(solution.x)


def simulated_seconds(
    name: str, chip: Chip, timed: Sequence[TimedStep], devices: int, precision: str
) -> list[float]:
    """Returns the simulated seconds of the timed steps."""
    slice_ = Slice(name, name, chip, (devices // chip.cores,))
    return [
        cost(
            step.shape,
            slice_,
            Layout(data=math.gcd(devices, step.batch)),
            step.batch,
            precision=precision,
            recompute="none",
        ).seconds
        for step in timed
    ]


def _base_chip(devices: Sequence[Any], rates: dict[str, float], precision: str) -> tuple[str, Chip]:
    """Returns the name and table of the chip: a known accelerator, or a CPU as measured."""
    kind = devices[0].device_kind
    known = known_device(kind)
    if known is not None:
        name = next(n for n, chip in read_chips().by_name.items() if chip is known)
        return name, known
    import psutil

    memory = psutil.virtual_memory().total // len(devices)
    table = {
        "title": f"{platform.processor() or platform.machine()} of {platform.node()}, per device",
        "device_kinds": [kind],
        "mxu": 1,
        "peak": {precision: rates["flops_per_second"]},
        "memory_bytes": float(memory),
        "usable_bytes": int(0.9 * memory),
        "memory_bandwidth": rates["memory_bytes_per_second"],
        "topology": "host",
        "link_bandwidth": rates["sum_bytes_per_second"],
        "node": len(devices),
        "dcn_bandwidth": 1e9,
        "slices": [str(n) for n in range(1, len(devices) + 1)],
        "most_chips": len(devices),
        "achieved": {"matmul": 0.7, "memory": 0.5, "network": 1.0, "attention": 1.0},
        "sources": [f"measured {datetime.date.today().isoformat()}"],
    }
    return str(devices[0].platform), parse(Chip, table, where="calibration")


def _stored_entries() -> dict[str, Any]:
    path = calibration_file()
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
