"""Times this machine's devices: matrix products, memory, sums over devices, and train steps."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalax.shapes.base import Recipe
from scalax.shapes.transformer import TransformerShape

_SECONDS, _TURNS = 4.0, 4


@dataclass(frozen=True)
class TimedStep:
    """The measured time of a train step.

    Attributes:
        shape: Shape of the transformer.
        batch: Examples in a batch.
        seconds: Seconds of the fastest step; other work on the machine only adds time.
    """

    shape: TransformerShape
    batch: int
    seconds: float


def measure_rates(devices: Sequence[Any], precision: str) -> dict[str, float]:
    """Measures the rates of one device, and of a sum over all devices.

    Args:
        devices: JAX's devices.
        precision: ``f32`` or ``bf16``.
    """
    return {
        "flops_per_second": _matmul(devices[0], precision),
        "memory_bytes_per_second": _memory(devices[0]),
        "sum_bytes_per_second": _all_reduce(devices),
    }


def time_steps(sizes: Sequence[tuple[TransformerShape, int]], precision: str) -> list[TimedStep]:
    """Times real train steps; all devices share each batch.

    All steps are compiled first and then run in turns, so that a temporary load on the machine
    affects one turn of every step instead of all turns of one.

    Args:
        sizes: Shapes, and examples in a batch; the number of devices must divide the batch.
        precision: ``f32`` or ``bf16``.
    """
    calls = [_compiled_call(shape, batch, precision) for shape, batch in sizes]
    fastest = [math.inf] * len(calls)
    for _ in range(_TURNS):
        for k, call in enumerate(calls):
            began = time.perf_counter()
            while time.perf_counter() - began < _SECONDS / _TURNS:
                fastest[k] = min(fastest[k], call())
    return [TimedStep(*size, seconds) for size, seconds in zip(sizes, fastest, strict=True)]


def _compiled_call(shape: TransformerShape, batch: int, precision: str) -> Callable[[], float]:
    """Returns a function that runs one train step and returns its seconds; it is compiled."""
    import jax

    from scalax.models.transformer import Transformer
    from scalax.train.mesh import make_mesh
    from scalax.train.program import Program

    recipe = Recipe(batch=batch, learning_rate=1e-3)
    program = Program(Transformer(), shape, recipe, precision, make_mesh("auto", batch))
    tokens = np.random.default_rng(0).integers(0, shape.vocab, (batch, shape.seq_len + 1))
    batch_on_devices = program.place(
        {"tokens": tokens.astype(np.int32), "mask": np.ones(batch, np.float32)}
    )
    values = {"peak": 1e-3, "warmup": 1.0, "decay_start": 1e9, "steps": 1e9, "cosine": 0.0}
    schedule = {name: np.float32(value) for name, value in values.items()}
    state = [program.init(0)]

    def call() -> float:
        began = time.perf_counter()
        state[0], metrics = program.step(state[0], batch_on_devices, schedule)
        jax.block_until_ready(metrics)
        return time.perf_counter() - began

    call()
    return call


def _fastest(call: Callable[[], Any], repeats: int = 7) -> float:
    """Returns the seconds of the fastest call, after one warm-up call."""
    import jax

    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _matmul(device: Any, precision: str) -> float:
    """Returns the FLOP/s of the fastest of some matrix products on one device."""
    import jax
    import jax.numpy as jnp

    dtype = jnp.float32 if precision == "f32" else jnp.bfloat16
    sizes = (256, 512, 1024) if device.platform == "cpu" else (2048, 4096, 8192)
    product = jax.jit(lambda left, right: left @ right)
    rates = []
    for size in sizes:
        left = jax.device_put(jnp.ones((4 * size, size), dtype), device)
        right = jax.device_put(jnp.ones((size, size), dtype), device)
        rates.append(8.0 * size**3 / _fastest(functools.partial(product, left, right)))
    return max(rates)


def _memory(device: Any) -> float:
    """Returns the bytes/s of reading and writing an array far larger than the caches."""
    import jax
    import jax.numpy as jnp

    count = 2**24 if device.platform == "cpu" else 2**28
    array = jax.device_put(jnp.ones(count, jnp.float32), device)
    update = jax.jit(lambda x: x * 1.5, donate_argnums=0)
    state = [array]

    def call() -> Any:
        state[0] = update(state[0])
        return state[0]

    return 8 * count / _fastest(call)


def _all_reduce(devices: Sequence[Any]) -> float:
    """Returns the bytes/s of a sum over all devices; for one device, the memory bandwidth."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    count = len(devices)
    if count == 1:
        return _memory(devices[0])
    mesh = jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=list(devices))
    split = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    size = 2**20
    array = jax.device_put(jnp.ones((count, size), jnp.float32), split)
    total = jax.jit(lambda x: jnp.sum(x, axis=0), out_shardings=whole)
    return 2 * (count - 1) / count * 4 * size / _fastest(lambda: total(array))
