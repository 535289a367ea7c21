"""The GPU rows of bench_train.py: the share of the dense bf16 peak that a train step reaches.

Only model FLOPs count: causal attention, no recomputation. Without a GPU, ``met`` is null.

    python tools/bench_gpu.py --rehearse      runs the same code with a tiny model, on any device
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

from scalax import devices

devices.prepare()  # chooses the platform before jax is imported: hence E402 below

import jax  # noqa: E402
import numpy as np  # noqa: E402
from bench_row import row  # noqa: E402

from scalax.models.compute import Recompute  # noqa: E402
from scalax.models.transformer import Transformer  # noqa: E402
from scalax.shapes.base import Recipe  # noqa: E402
from scalax.shapes.transformer_search import shape_for  # noqa: E402
from scalax.train.mesh import make_mesh  # noqa: E402
from scalax.train.performance import peak_flops_per_second  # noqa: E402
from scalax.train.program import Program  # noqa: E402
from scalax.train.schedule import SCHEDULE  # noqa: E402

VOCAB, LENGTH, STEPS = 32_000, 2_048, 10
REFERENCE = "0.38 to 0.67: MaxText's published utilisation on TPU"
TARGET = 0.55
SIZES = (350e6, 1.3e9)
TRIED: tuple[tuple[int, Recompute], ...] = (
    # sequences per device, recomputation: highest memory use first
    (16, "none"),
    (8, "none"),
    (16, "dots"),
    (8, "dots"),
    (16, "full"),
)


@dataclass(frozen=True)
class Reached:
    """Speed of one configuration; ``share`` of the peak is None if the peak is unknown."""

    batch: int
    recompute: Recompute
    seconds: float
    flops_per_second: float
    share: float | None


def rows(sizes: tuple[float, ...] = SIZES) -> list[dict[str, Any]]:
    """Returns one row per size. The target applies to 1.3 B; 350 M is for information."""
    results = []
    for params in sizes:
        name = f"gpu utilisation, {params / 1e6:,.0f} M params, bf16, sequence {LENGTH}"
        if jax.default_backend() != "gpu":
            results.append(row(name, None, TARGET, None, REFERENCE))
            continue
        best = reach(params)
        ratio = best.share / TARGET if best.share is not None else None
        met = best.share >= TARGET if best.share is not None and params == SIZES[-1] else None
        title = f"{name}, {_where()}, batch {best.batch}, recompute {best.recompute}"
        results.append(row(title, best.share, TARGET, met, REFERENCE, ratio=ratio))
    return results


def reach(
    params: float,
    *,
    vocab: int = VOCAB,
    length: int = LENGTH,
    precision: str = "bf16",
    tried: tuple[tuple[int, Recompute], ...] = TRIED,
) -> Reached:
    """Returns the fastest configuration that fits in memory.

    Raises:
        SystemExit: No configuration fits.
    """
    results = []
    for batch, recompute in tried:
        try:
            results.append(_measure(params, vocab, length, precision, batch, recompute))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
    if not results:
        raise SystemExit(f"no configuration of {params:,.0f} params fits on {_where()}")
    return max(results, key=lambda result: result.flops_per_second)


def _measure(
    params: float, vocab: int, length: int, precision: str, each: int, recompute: Recompute
) -> Reached:
    family = Transformer()
    shape = shape_for(params, vocab=vocab, seq_len=length)
    there = jax.devices()
    batch = each * len(there)
    mesh = make_mesh({"fsdp": len(there)}, batch)
    recipe = Recipe(batch=batch, learning_rate=1e-4)
    program = Program(family, shape, recipe, precision, mesh, recompute=recompute)
    state = program.init(0)
    schedule = dict(zip(SCHEDULE, map(np.float32, (1e-4, 1, 1e9, 1e9, 0)), strict=True))
    tokens = np.random.default_rng(0).integers(0, vocab, (batch, length + 1), dtype=np.int32)
    placed = program.place({"tokens": tokens, "mask": np.ones(batch, np.float32)})

    def steps(count: int) -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(count):
            state, metrics = program.step(state, placed, schedule)
        if not np.isfinite(float(metrics["loss"])):
            raise SystemExit("the loss is not finite")
        return (time.perf_counter() - started) / count

    steps(3)  # compiles and warms up
    seconds = min(steps(STEPS) for _ in range(3))
    rate = family.flops_per_unit(shape) * batch * length / seconds
    possible, _ = peak_flops_per_second(there[0].device_kind, len(there), precision)
    return Reached(batch, recompute, seconds, rate, rate / possible if possible else None)


def _where() -> str:
    there = jax.devices()
    return f"{len(there)} x {there[0].device_kind}"


if __name__ == "__main__":
    if "--rehearse" in sys.argv:
        print(reach(300_000, vocab=512, length=128, tried=((2, "none"), (2, "full"))))
    else:
        print(json.dumps(rows(), indent=1))
