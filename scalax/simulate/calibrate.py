"""Measures this machine, so that what is simulated for it comes true: `scalax simulate calibrate`.

Matrix products, memory and a sum over devices are timed alone; then real train steps of a few
sizes, from which the shares of those rates that a step reaches are fitted. What is stored has the
form of chips.toml and overrides it, on this machine alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalax.files import write_json
from scalax.hardware.chips import Achieved, Chip, calibration_file, known_device, read_chips
from scalax.hardware.layout import Layout
from scalax.hardware.slices import Slice
from scalax.hardware.step import cost
from scalax.schema import parse
from scalax.shapes.base import Recipe
from scalax.shapes.transformer import TransformerShape
from scalax.shapes.transformer_search import shape_for

_SMALL = ((2e5, 256, 128, 16), (1e6, 256, 128, 32), (4e6, 256, 256, 16), (6e5, 512, 64, 64),
          (2e6, 4096, 128, 16), (1e7, 1024, 128, 16))  # fmt: skip
_LARGE = (
    (5e7, 32000, 1024, 8),
    (1.5e8, 32000, 1024, 8),
    (4e8, 32000, 2048, 4),
    (1e8, 32000, 512, 32),
)
"""Sizes to time on a CPU and on accelerators: params, vocabulary, sequence length, and sequences
for each device."""
_SECONDS, _TURNS = 4.0, 4
_SHARES = ("matmul", "memory", "softmax_seconds", "overhead_seconds")


@dataclass(frozen=True)
class Timed:
    """A train step that was timed.

    Attributes:
        shape: What was trained.
        batch: Examples in a batch.
        seconds: Of the fastest step: other work on the machine only ever adds to it.
    """

    shape: TransformerShape
    batch: int
    seconds: float


def calibrate(say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measures the devices of this process and stores the constants.

    Args:
        say: Told of each measurement.

    Returns:
        What was stored for the chip: ``name``, ``chip`` (as in chips.toml), ``measured`` (rates
        alone), ``steps`` (each timed step with its simulated time), ``median_error`` and ``file``.

    Raises:
        ScalaxError: The file cannot be written, or a device is none that chips.toml knows.
    """
    import jax

    devices = jax.devices()
    cpu = devices[0].platform == "cpu"
    precision = "f32" if cpu else "bf16"
    rates = {
        "flops_per_second": _matmul(devices[0], precision),
        "memory_bytes_per_second": _memory(devices[0]),
        "sum_bytes_per_second": _all_reduce(devices),
    }
    for name, value in rates.items():
        say(f"{name:<26}{value:.3g} a device")
    name, base = _base(devices, rates, precision)
    sizes = [
        (shape_for(params, vocab=vocab, seq_len=seq_len), sequences * len(devices))
        for params, vocab, seq_len, sequences in (_SMALL if cpu else _LARGE)
    ]
    say(f"timing train steps of {len(sizes)} sizes")
    timed = time_steps(sizes, precision)
    chip = fitted(name, base, timed, len(devices), precision)
    ours = simulated(name, chip, timed, len(devices), precision)
    steps = [
        {
            "shape": dataclasses.asdict(each.shape),
            "batch": each.batch,
            "seconds": each.seconds,
            "simulated": seconds,
        }
        for each, seconds in zip(timed, ours, strict=True)
    ]
    errors = [abs(seconds / each.seconds - 1) for each, seconds in zip(timed, ours, strict=True)]
    entry = {
        "chip": chip.model_dump(mode="json", exclude_none=True),
        "measured": rates,
        "steps": steps,
        "median_error": statistics.median(errors),
        "host": platform.node(),
        "date": datetime.date.today().isoformat(),
    }
    write_json(calibration_file(), {**_stored(), name: entry})
    return {"name": name, **entry, "file": str(calibration_file())}


def time_steps(sizes: Sequence[tuple[TransformerShape, int]], precision: str) -> list[Timed]:
    """Times real train steps, all devices sharing each batch.

    All are compiled first, then run in turns: a passing load of the machine spoils one turn of
    each and not all turns of one.

    Args:
        sizes: What to train, and examples in its batch, which the devices must divide.
        precision: ``f32`` or ``bf16``.
    """
    calls = [_ready(shape, batch, precision) for shape, batch in sizes]
    least = [math.inf] * len(calls)
    for _ in range(_TURNS):
        for k, call in enumerate(calls):
            began = time.perf_counter()
            while time.perf_counter() - began < _SECONDS / _TURNS:
                least[k] = min(least[k], call())
    return [Timed(*size, seconds) for size, seconds in zip(sizes, least, strict=True)]


def _ready(shape: TransformerShape, batch: int, precision: str) -> Callable[[], float]:
    """A call that does one train step and says how long it took; the first is behind it."""
    import jax

    from scalax.models.transformer import Transformer
    from scalax.train.mesh import make_mesh
    from scalax.train.program import Program

    recipe = Recipe(batch=batch, learning_rate=1e-3)
    program = Program(Transformer(), shape, recipe, precision, make_mesh("auto", batch))
    tokens = np.random.default_rng(0).integers(0, shape.vocab, (batch, shape.seq_len + 1))
    placed = program.place({"tokens": tokens.astype(np.int32), "mask": np.ones(batch, np.float32)})
    values = {"peak": 1e-3, "warmup": 1.0, "decay_start": 1e9, "steps": 1e9, "cosine": 0.0}
    schedule = {name: np.float32(value) for name, value in values.items()}
    state = [program.init(0)]

    def call() -> float:
        began = time.perf_counter()
        state[0], told = program.step(state[0], placed, schedule)
        jax.block_until_ready(told)
        return time.perf_counter() - began

    call()
    return call


def fitted(name: str, base: Chip, timed: Sequence[Timed], devices: int, precision: str) -> Chip:
    """The chip with the shares of its rates that make simulated steps as long as those timed.

    Each is drawn a little to where it starts, so that no few timings carry it far off.
    """
    from scipy.optimize import least_squares

    start = np.log([0.7, 0.5, 1e-9 if base.topology == "host" else 1e-12, 2e-5])
    real = np.log([each.seconds for each in timed])

    def chip_at(logs: np.ndarray) -> Chip:
        values = dict(zip(_SHARES, map(float, np.exp(logs)), strict=True))
        fixed = {"network": 1.0, "attention": base.achieved.attention}
        achieved = parse(Achieved, {**fixed, **values}, where="calibration")
        return base.model_copy(update={"achieved": achieved})

    def misses(logs: np.ndarray) -> np.ndarray:
        ours = np.log(simulated(name, chip_at(logs), timed, devices, precision))
        return np.concatenate([ours - real, (logs - start) / 20])

    top = np.log([1.0, 1.0, 1e-6, 1e-2])
    found = least_squares(
        misses, np.minimum(start, top - 1e-3), bounds=(start - 6, top), loss="soft_l1", f_scale=0.1
    )
    return chip_at(found.x)


def simulated(
    name: str, chip: Chip, timed: Sequence[Timed], devices: int, precision: str
) -> list[float]:
    """Simulated seconds of the steps that were timed."""
    here = Slice(name, name, chip, (devices // chip.cores,))
    return [
        cost(
            each.shape,
            here,
            Layout(data=math.gcd(devices, each.batch)),
            each.batch,
            precision=precision,
            recompute="none",
        ).seconds
        for each in timed
    ]


def _base(devices: Sequence[Any], rates: dict[str, float], precision: str) -> tuple[str, Chip]:
    """The chip's table with measured rates in place of stated ones: for a CPU, all of it."""
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


def _stored() -> dict[str, Any]:
    import json

    path = calibration_file()
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _best(call: Callable[[], Any], repeats: int = 7) -> float:
    """Least seconds of a call, after a first one."""
    import jax

    jax.block_until_ready(call())
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        found.append(time.perf_counter() - began)
    return min(found)


def _matmul(device: Any, precision: str) -> float:
    """FLOP/s of the fastest of some matrix products on one device."""
    import jax
    import jax.numpy as jnp

    dtype = jnp.float32 if precision == "f32" else jnp.bfloat16
    sizes = (256, 512, 1024) if device.platform == "cpu" else (2048, 4096, 8192)
    product = jax.jit(lambda left, right: left @ right)
    rates = []
    for size in sizes:
        left = jax.device_put(jnp.ones((4 * size, size), dtype), device)
        right = jax.device_put(jnp.ones((size, size), dtype), device)
        rates.append(8.0 * size**3 / _best(functools.partial(product, left, right)))
    return max(rates)


def _memory(device: Any) -> float:
    """Bytes/s of reading and writing an array far larger than caches."""
    import jax
    import jax.numpy as jnp

    count = 2**24 if device.platform == "cpu" else 2**28
    array = jax.device_put(jnp.ones(count, jnp.float32), device)
    update = jax.jit(lambda x: x * 1.5, donate_argnums=0)
    box = [array]

    def call() -> Any:
        box[0] = update(box[0])
        return box[0]

    return 8 * count / _best(call)


def _all_reduce(devices: Sequence[Any]) -> float:
    """Bytes/s at which a device receives when all sum an array; the memory's own for one device."""
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
    return 2 * (count - 1) / count * 4 * size / _best(lambda: total(array))
