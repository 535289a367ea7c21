"""Compares the speed of the trainer with that of a plain one; prints JSON.

    python tools/bench_train.py               all rows, a few minutes on two cores
    python tools/bench_train.py --only tokens rows whose names contain a word

Each row is {name, reference, ours, ratio, target, met}. A ratio above 1 means that ours is better;
met is null if the row cannot be measured here. The speed rows alternate short measurements of both
sides, each in its own process, and compare the fastest of each, because other load on the machine
only slows a measurement down.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scalax import devices

devices.prepare()

import bench_gpu  # noqa: E402
import bench_runs  # noqa: E402
import numpy as np  # noqa: E402
from bench_row import row  # noqa: E402

from scalax.models.transformer import Transformer  # noqa: E402
from scalax.shapes.base import Recipe  # noqa: E402
from scalax.shapes.transformer import TransformerShape  # noqa: E402
from scalax.train.mesh import make_mesh  # noqa: E402
from scalax.train.program import Program  # noqa: E402
from scalax.train.schedule import SCHEDULE  # noqa: E402

HERE = Path(__file__).parent
VOCAB, LENGTH, BATCH = 256, 128, 16
SIZES = (
    # width, layers, heads, steps per measurement, target speed relative to the reference
    (64, 2, 4, 30, 2.5),
    (128, 4, 4, 8, 1.6),
    (256, 6, 4, 3, 1.3),
)
REPEATS = 9


def tokens_per_second(width: int, layers: int, heads: int, steps: int, target: float) -> Any:
    """Returns the row that compares the plain train step with the trainer's."""
    command = [sys.executable, HERE / "plain_step.py", width, layers, heads]
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as plain:
        assert plain.stdin and plain.stdout
        params = int(plain.stdout.readline())

        def reference(steps: int) -> float:
            plain.stdin.write(f"{steps}\n")
            plain.stdin.flush()
            return float(plain.stdout.readline())

        ours = _Ours(width, layers, heads)
        assert ours.params == params, "the two sides have different models"
        sides = {"reference": reference, "ours": ours.seconds}
        for side in sides.values():
            side(3)  # compiles and fills caches
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(REPEATS):
            for name, side in sides.items():
                seconds[name].append(side(steps))
        plain.stdin.close()
    rate = {n: BATCH * LENGTH / min(times) for n, times in seconds.items()}
    ratio = rate["ours"] / rate["reference"]
    return row(
        f"tokens/s, {width} wide x {layers} layers, {params:,} params, {ours.where}",
        rate["ours"],
        target,
        ratio >= target,
        rate["reference"],
        ratio=ratio,
    )


class _Ours:
    """The trainer's step, called as a run calls it."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        family = Transformer()
        shape = TransformerShape(
            vocab=VOCAB, width=width, layers=layers, heads=heads, kv_heads=heads,
            head_dim=width // heads, hidden=4 * width, gated=False, tied=True, seq_len=LENGTH,
        )  # fmt: skip
        mesh = make_mesh("auto", BATCH)
        recipe = Recipe(batch=BATCH, learning_rate=1e-3)
        self.program = Program(family, shape, recipe, "f32", mesh)
        self.params = family.counts(shape).params
        self.where = f"{mesh.size} {mesh.devices.flat[0].platform} devices"
        self._state = self.program.init(0)
        self._schedule = dict(zip(SCHEDULE, map(np.float32, (1e-3, 1, 1e9, 1e9, 0)), strict=True))
        draw = np.random.default_rng(0)
        shapes = (BATCH, LENGTH + 1)
        self._tokens = [draw.integers(0, VOCAB, shapes, dtype=np.int32) for _ in range(4)]

    def seconds(self, steps: int) -> float:
        """Returns the seconds per step."""
        mask, started = np.ones(BATCH, np.float32), time.perf_counter()
        metrics: dict[str, Any] = {}
        for k in range(steps):
            batch = self.program.place({"tokens": self._tokens[k % 4], "mask": mask})
            self._state, metrics = self.program.step(self._state, batch, self._schedule)
        float(metrics["loss"])
        return (time.perf_counter() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="measure the rows whose names contain this word")
    only = parser.parse_args().only
    rows = []
    if only in "tokens/s":
        rows += [tokens_per_second(*size) for size in SIZES]
    rows += [row for name, measure in bench_runs.ROWS.items() if only in name for row in measure()]
    if only in "gpu utilisation":
        rows += bench_gpu.rows()
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
