"""Measures the errors of the simulator and the planner; prints a JSON list.

    python tools/bench_simulator.py              minutes: compares bytes with recorded reports of
                                                 the TPU's compiler, and times steps on this CPU
    python tools/bench_simulator.py --compile    compiles the cases again (half an hour)
    python tools/bench_simulator.py --quick      skips the measurements on this CPU

Each row is {name, reference, ours, ratio, target, met}. A ratio above 1 means that scalax is
better; it is null without a reference. met is null for a row that was not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench_row import row  # noqa: E402

from scalax import registry  # noqa: E402  (the path to tests is set above)
from scalax.hardware.chips import read_chips  # noqa: E402
from scalax.hardware.request import SimulatedModel  # noqa: E402
from scalax.shapes.transformer_search import shape_for  # noqa: E402
from tests.published_tpu import memory_cases, published_rows, simulated  # noqa: E402

RULE = 0.45
"""The middle of the usual rule of thumb, 40 to 50 % of the peak."""
_JUDGED = ((3e5, 256, 256, 16), (2e6, 256, 128, 32), (1e6, 2048, 128, 32), (7e6, 512, 256, 8),
           (5e6, 256, 64, 64))  # fmt: skip
"""Sizes not used for calibration: params, vocabulary, sequence length, sequences per device."""


def speeds() -> list[dict[str, Any]]:
    """Compares tokens/s/chip with published results that were not used for calibration."""
    judged = [r for r in published_rows() if r["use"] == "judge"]
    ours, rule = [], []
    for each in judged:
        step = simulated(each)
        ours.append(abs(step.tokens_per_second_per_chip / each["speed"] - 1))
        by_rule = step.tokens_per_second_per_chip * RULE / step.utilisation
        rule.append(abs(by_rule / each["speed"] - 1))
    complete = [k for k, each in enumerate(judged) if each["complete"] == "yes"]
    median, worst = statistics.median(ours), max(ours[k] for k in complete)
    return [
        row(
            f"tokens/s/chip, median error over {len(judged)} published TPU results",
            median, 0.10, median <= 0.10, statistics.median(rule),
        ),
        row(
            f"tokens/s/chip, worst error over the {len(complete)} that state all",
            worst, 0.25, worst <= 0.25, max(rule[k] for k in complete),
        ),
    ]  # fmt: skip


def memory(recompile: bool) -> list[dict[str, Any]]:
    """Compares bytes per device with the TPU's compiler."""
    from scalax.simulate.step import compile_simulated

    errors, false_fits = [], 0
    cases = memory_cases()
    for case in cases:
        step = simulated(case)
        if recompile:
            arch = case["architecture"]
            model = SimulatedModel(arch, registry.get("model", "transformer"), arch)
            compiled = compile_simulated(model, step)
            size, fits = compiled.bytes_per_device, compiled.fits
        else:
            size, fits = int(case["compiled_bytes"]), case["fits"] == "true"
        errors.append(abs(step.bytes.total / size - 1))
        false_fits += step.fits and not fits
    within_tenth = sum(error <= 0.10 for error in errors) / len(errors)
    how = "compiled now" if recompile else "as recorded"
    return [
        row(f"bytes per device, worst error over {len(cases)} compilations ({how})",
            max(errors), 0.10, max(errors) <= 0.10),
        row("bytes per device, median error over them", statistics.median(errors), None, None),
        row("bytes per device, share of them within a tenth", within_tenth, None, None),
        row("cases said to fit where the compiler says no", false_fits, 0, false_fits == 0),
    ]  # fmt: skip


def this_cpu() -> list[dict[str, Any]]:
    """Calibrates this machine, then compares steps of other sizes with the simulation."""
    from scalax.devices import prepare

    prepare()
    import jax

    from scalax.simulate.calibrate import calibrate, simulated_seconds
    from scalax.simulate.measure_device import time_steps

    if jax.devices()[0].platform != "cpu":
        return [row("step time on this CPU, median error", None, 0.15, None)]
    calibration = calibrate()
    chip = read_chips().by_name[calibration["name"]]
    devices = len(jax.devices())
    sizes = [
        (shape_for(n, vocab=vocab, seq_len=length), count * devices)
        for n, vocab, length, count in _JUDGED
    ]
    timed = time_steps(sizes, "f32")
    ours = simulated_seconds(calibration["name"], chip, timed, devices, "f32")
    errors = [abs(s / t.seconds - 1) for s, t in zip(ours, timed, strict=True)]
    for each, seconds in zip(timed, ours, strict=True):
        shape = dataclasses.asdict(each.shape)
        print(f"{shape['width']} x {shape['layers']}: {each.seconds:.4g} s measured, "
              f"{seconds:.4g} simulated", file=sys.stderr)  # fmt: skip
    median = statistics.median(errors)
    return [row(f"step time on this CPU, median error over {len(errors)} sizes that calibrated "
                "nothing", median, 0.15, median <= 0.15)]  # fmt: skip


def cold() -> list[dict[str, Any]]:
    """Measures the wall time of the command in a new process: the best of three."""
    whole = ["--preset", "llama-3.1-8b", "--mesh", "fsdp=256", "--batch-tokens", "2097152"]
    commands = {
        "scalax simulate step, cold (s)": ([*whole, "--chips", "v5e-256"], 1.0),
        "scalax simulate step with the mesh search, 512 chips, cold (s)": (
            ["--preset", "mixtral-8x7b", "--chips", "2xv6e-256"], 5.0,
        ),
    }  # fmt: skip
    rows = []
    for name, (args, target) in commands.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            command = [sys.executable, "-m", "scalax", "simulate", "step", *args, "--json"]
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - began)
        rows.append(row(name, min(times), target, min(times) <= target))
    return rows


def planner() -> list[dict[str, Any]]:
    """Returns the rows of the pilot benchmark, if it is present."""
    try:
        import bench_pilot
    except ModuleNotFoundError:
        return []
    rows: list[dict[str, Any]] = bench_pilot.rows()
    return rows


def main() -> None:
    """Prints all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="compile the memory cases again")
    parser.add_argument("--quick", action="store_true", help="skip the measurements on this CPU")
    options = parser.parse_args()
    rows = [*speeds(), *memory(options.compile), *cold()]
    if not options.quick:
        rows += [*this_cpu(), *planner()]
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
