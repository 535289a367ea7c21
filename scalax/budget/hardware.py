"""Allocates a budget in chip-days or dollars, with a training step simulated on those chips.

The best size depends on the FLOPs available, the FLOPs depend on training speed, and training speed
depends on the size. `allocate_on` solves for all three together.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scalax.errors import ScalaxError
from scalax.hardware.chips import read_chips
from scalax.hardware.request import model_of_size
from scalax.hardware.search import best_step
from scalax.hardware.slices import Slice, parse_slice
from scalax.hardware.step import Step
from scalax.predict.answers import Allocation
from scalax.predict.columns import positive
from scalax.predict.data_limited import allocate_limited
from scalax.predict.protocol import ScalingLaw

LOST = 0.05
"""Default share of wall time lost to failures and restarts."""
_DAY = 86400.0
"""Seconds in a day."""
_MAX_ITERATIONS = 40
_TOLERANCE = 1e-4
"""Relative tolerance of the solution, in training time or budget."""


@dataclass(frozen=True)
class TrainingHardware:
    """The hardware that trains a model, and how the model uses it.

    Attributes:
        chips: A slice, such as ``v5e-256``.
        family: Model family that turns a size into an architecture.
        seq_len: Tokens in a sequence.
        precision: Precision of matrix products.
        lost: Share of wall time lost to failures and restarts.
        chips_file: TOML file of the user's own chips and prices.
    """

    chips: str
    family: str = "transformer"
    seq_len: int = 2048
    precision: str = "bf16"
    lost: float = LOST
    chips_file: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.lost < 1:
            raise ScalaxError(
                f"expected a share of 0 or more and less than 1, got {self.lost}",
                where="--lost",
                fix="write --lost 0.1",
            )

    @functools.cached_property
    def slice(self) -> Slice:
        """The slice that ``chips`` names; raises where it doesn't support the precision."""
        chips = parse_slice(self.chips, read_chips(self.chips_file))
        chips.chip.peak_flops(self.precision)
        return chips

    def step(self, params: float, batch_tokens: float | None) -> Step:
        """Returns the fastest step that trains a model of this size.

        Args:
            params: Model parameters.
            batch_tokens: Recommended batch size, in tokens. The step uses the nearest power of two
                of sequences, if that batch divides over the chips and fits in memory.
        """
        arch = model_of_size(self.family, params, self.seq_len).architecture
        if batch_tokens is not None:
            sequences = 2 ** max(0, round(math.log2(batch_tokens / self.seq_len)))
            try:
                step = best_step(arch, self.slice, batch=sequences, precision=self.precision)
            except ScalaxError:  # the batch does not divide over the chips: search for another
                step = None
            if step is not None and step.fits:
                return step
        return best_step(arch, self.slice, precision=self.precision)

    def usd_per_day(self) -> float | None:
        """Returns the list price of all chips for a day, in dollars; None where unknown."""
        hour = self.slice.usd_per_hour
        return None if hour is None else 24 * hour


@dataclass(frozen=True)
class HardwareAllocation(Allocation):
    """An allocation with its training time and price on given chips.

    Attributes:
        chips: Name of the slice.
        mesh: Devices along each axis.
        days: Wall time, including the time lost.
        usd: List price, in dollars; None where unknown.
        utilisation: Model FLOPs utilisation of the simulated step, relative to the dense peak.
        lost: Share of wall time lost to failures and restarts.
        num_chips: Number of chips.
        tokens_per_second_per_chip: Throughput while training.
        step_tokens: Batch of the simulated step, in tokens.
        recompute: Activations that the backward pass recomputes.
        fits: Whether the model fits in memory.
    """

    chips: str = ""
    mesh: dict[str, int] = field(default_factory=dict)
    days: float = 0.0
    usd: float | None = None
    utilisation: float = 0.0
    lost: float = LOST
    num_chips: int = 0
    tokens_per_second_per_chip: float = 0.0
    step_tokens: int = 0
    recompute: str = ""
    fits: bool = True


def allocate_on(
    law: ScalingLaw,
    hardware: TrainingHardware,
    *,
    flops: float | None = None,
    days: float | None = None,
    usd: float | None = None,
    max_tokens: float | None = None,
    given: dict[str, float] | None = None,
) -> HardwareAllocation:
    """Splits a budget of compute, time or money between size and data.

    Give exactly one of ``flops``, ``days`` and ``usd``.

    Args:
        law: The law.
        hardware: The chips.
        flops: Budget in FLOPs, as the law counts them.
        days: Budget of wall time, in days.
        usd: Budget in dollars at list price.
        max_tokens: Tokens available; None for no limit.
        given: The law's columns other than params and tokens.

    Raises:
        ScalaxError: Not exactly one budget is given, it is not positive, the price of the chips is
            unknown, or the budget is too small for the smallest model.
    """
    budgets = {"--flops": flops, "--days": days, "--usd": usd}
    named = [name for name, value in budgets.items() if value is not None]
    if len(named) != 1:
        raise ScalaxError(
            f"expected one of --flops, --days and --usd, got {' and '.join(named) or 'none'}",
            where=f"--chips {hardware.chips}",
            fix="write --days 30",
        )

    def split(budget: float) -> Allocation:
        return allocate_limited(law, budget, max_tokens, **(given or {}))

    if flops is not None:
        answer = split(flops)
        return _on_hardware(answer, hardware, hardware.step(answer.params, answer.batch_tokens))
    if usd is not None:
        price = hardware.usd_per_day()
        if price is None:
            raise ScalaxError(
                f"the list price of {hardware.slice.chip.title} is unknown",
                where="--usd",
                fix="give --days, or usd_per_hour in your own --chips-file",
            )
        days = float(positive("usd", usd)) / price
    assert days is not None
    seconds = float(positive("days", days)) * _DAY * (1 - hardware.lost)
    answer, step = _solve(split, hardware, seconds)
    return _on_hardware(answer, hardware, step)


def _solve(
    split: Callable[[float], Allocation], hardware: TrainingHardware, seconds: float
) -> tuple[Allocation, Step]:
    """Returns the split of the largest budget that trains in the time available, and its step.

    Each iteration scales the budget by the time available over the time needed. Shapes and meshes
    are discrete: if no budget needs exactly that time, the largest that needs less is used.
    """
    chips = hardware.slice
    budget = 0.4 * chips.chip.peak_flops(hardware.precision) * chips.chips * seconds
    low, high = 0.0, math.inf
    best = None
    for _ in range(_MAX_ITERATIONS):
        answer = split(budget)
        step = hardware.step(answer.params, answer.batch_tokens)
        needed = answer.tokens / step.tokens * step.seconds
        if needed <= seconds:
            low, best = budget, (answer, step)
            if needed > seconds * (1 - _TOLERANCE):
                break
        else:
            high = budget
        if high < low * (1 + _TOLERANCE):
            break
        guess = budget * seconds / needed * (1 - _TOLERANCE / 2)
        budget = guess if low < guess < high else math.sqrt(low * high)
    if best is None:
        raise ScalaxError(
            f"{seconds / _DAY:.3g} days of {hardware.chips} are too short to train a model",
            where="--days",
            fix="give more time, or fewer chips",
        )
    return best


def _on_hardware(answer: Allocation, hardware: TrainingHardware, step: Step) -> HardwareAllocation:
    """Returns the allocation with the time and price of training it by this step."""
    days = answer.tokens / step.tokens * step.seconds / (1 - hardware.lost) / _DAY
    price = hardware.usd_per_day()
    notes = [f"assumes that {hardware.lost:.0%} of wall time is lost to failures and restarts"]
    if not step.fits:
        notes.append(
            f"this model does not fit in {hardware.chips} with any mesh: it needs "
            f"{step.bytes.total / 2**30:.1f} GiB a device, and "
            f"{step.slice.memory_limit / 2**30:.1f} GiB are available"
        )
    values: dict[str, Any] = {f.name: getattr(answer, f.name) for f in dataclasses.fields(answer)}
    values["notes"] = [*answer.notes, *notes]
    return HardwareAllocation(
        **values,
        chips=step.slice.name,
        mesh=step.layout.to_json(),
        days=days,
        usd=None if price is None else price * days,
        utilisation=step.utilisation,
        lost=hardware.lost,
        num_chips=step.slice.chips,
        tokens_per_second_per_chip=step.tokens_per_second_per_chip,
        step_tokens=step.tokens,
        recompute=step.recompute,
        fits=step.fits,
    )


def hardware_lines(answer: HardwareAllocation) -> list[str]:
    """Returns the hardware's part of an allocation as text, one line for each quantity."""
    mesh = ",".join(f"{axis}={size}" for axis, size in answer.mesh.items())
    price = "unknown" if answer.usd is None else f"${answer.usd:,.0f} at list price"
    return [
        f"{'chips':<18}{answer.chips} ({answer.num_chips} chips), mesh {mesh}, "
        f"{answer.step_tokens:,} tokens a step, recompute {answer.recompute}",
        f"{'utilisation':<18}{answer.utilisation:.1%}, "
        f"{answer.tokens_per_second_per_chip:,.0f} tokens/s/chip",
        f"{'wall time':<18}{answer.days:.3g} days, {answer.lost:.0%} of it lost",
        f"{'price':<18}{price}",
    ]
