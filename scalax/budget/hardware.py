"""Chip-days and dollars as a budget: the split they pay for, simulated on those very chips.

The best size depends on the FLOPs, the FLOPs on the speed at which that size trains, and the
speed on the size: the three are solved for together.
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
"""Share of wall time lost to failures and restarts, where none is given."""
_SECONDS = 86400.0
_ROUNDS = 40
_CLOSE = 1e-4


@dataclass(frozen=True)
class Run:
    """What trains the model.

    Attributes:
        chips: A slice, such as ``v5e-256``.
        family: Which family gives the shape of a size.
        seq_len: Tokens in a sequence.
        precision: Of the matrix products.
        lost: Share of wall time lost to failures and restarts.
        chips_file: A user's own chips and prices.
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
        """The chips, looked up."""
        found = parse_slice(self.chips, read_chips(self.chips_file))
        found.chip.peak_flops(self.precision)
        return found

    def step(self, params: float, batch_tokens: float | None) -> Step:
        """The fastest step at a size, at about a batch where one is advised and can be run."""
        arch = model_of_size(self.family, params, self.seq_len).architecture
        if batch_tokens is not None:
            sequences = 2 ** max(0, round(math.log2(batch_tokens / self.seq_len)))
            try:
                found = best_step(arch, self.slice, batch=sequences, precision=self.precision)
            except ScalaxError:  # the chips do not divide such a batch: take the nearest they do
                found = None
            if found is not None and found.fits:
                return found
        return best_step(arch, self.slice, precision=self.precision)

    def price_of_a_day(self) -> float | None:
        """Dollars for all chips for a day, at list price; None where none is known."""
        hour = self.slice.usd_per_hour
        return None if hour is None else 24 * hour


@dataclass(frozen=True)
class HardwareAllocation(Allocation):
    """A split with what it takes on given chips.

    Attributes:
        chips: The slice.
        mesh: Devices along each axis.
        days: Wall time, losses included.
        usd: At list price; None where none is known.
        utilisation: Of the simulated step: model FLOPs over the dense peak.
        lost: Share of wall time lost to failures and restarts.
        num_chips: Chips in all.
        tokens_per_second_per_chip: While it trains.
        step_tokens: Tokens of the simulated step.
        recompute: What its backward pass computes again.
        fits: Whether memory holds it.
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
    found: ScalingLaw,
    run: Run,
    *,
    flops: float | None = None,
    days: float | None = None,
    usd: float | None = None,
    max_tokens: float | None = None,
    given: dict[str, float] | None = None,
) -> HardwareAllocation:
    """The best split that chips, or money for them, can pay for.

    Args:
        found: The law.
        run: The chips, and how they are used.
        flops: A budget in FLOPs by the law's own compute rule; or
        days: wall time in days; or
        usd: dollars at list price.
        max_tokens: Tokens that there are.
        given: The law's other columns.

    Raises:
        ScalaxError: None or several budgets are given, one is not positive, the chips have no
            price, or the budget pays for less than the smallest model.
    """
    budgets = {"--flops": flops, "--days": days, "--usd": usd}
    named = [name for name, value in budgets.items() if value is not None]
    if len(named) != 1:
        raise ScalaxError(
            f"expected one of --flops, --days and --usd, got {' and '.join(named) or 'none'}",
            where=f"--chips {run.chips}",
            fix="write --days 30",
        )

    def split(budget: float) -> Allocation:
        return allocate_limited(found, budget, max_tokens, **(given or {}))

    if flops is not None:
        answer = split(flops)
        return _told(answer, run, run.step(answer.params, answer.batch_tokens))
    if usd is not None:
        price = run.price_of_a_day()
        if price is None:
            raise ScalaxError(
                f"no list price is known of {run.slice.chip.title}",
                where="--usd",
                fix="give usd_per_hour in your own --chips-file, or --days",
            )
        days = float(positive("usd", usd)) / price
    assert days is not None
    seconds = float(positive("days", days)) * _SECONDS * (1 - run.lost)
    return _told(*_solve(split, run, seconds))


def _solve(
    split: Callable[[float], Allocation], run: Run, seconds: float
) -> tuple[Allocation, Run, Step]:
    """The largest budget whose best split trains in the time there is.

    Each round scales the budget by the time left over. A size's shape and mesh come in steps, so
    that no budget may take that time to the second: then the one just below stands.
    """
    chips = run.slice
    budget = 0.4 * chips.chip.peak_flops(run.precision) * chips.chips * seconds
    low, high = 0.0, math.inf
    best = None
    for _ in range(_ROUNDS):
        answer = split(budget)
        step = run.step(answer.params, answer.batch_tokens)
        took = answer.tokens / step.tokens * step.seconds
        if took <= seconds:
            low, best = budget, (answer, run, step)
            if took > seconds * (1 - _CLOSE):
                break
        else:
            high = budget
        if high < low * (1 + _CLOSE):
            break
        guess = budget * seconds / took * (1 - _CLOSE / 2)
        budget = guess if low < guess < high else math.sqrt(low * high)
    if best is None:
        raise ScalaxError(
            f"{seconds / _SECONDS:.3g} days of {run.chips} train no model of this family",
            where="--days",
            fix="give more time, or fewer chips",
        )
    return best


def _told(answer: Allocation, run: Run, step: Step) -> HardwareAllocation:
    days = answer.tokens / step.tokens * step.seconds / (1 - run.lost) / _SECONDS
    price = run.price_of_a_day()
    notes = [f"{run.lost:.0%} of wall time is taken as lost to failures and restarts"]
    if not step.fits:
        notes.append(
            f"no mesh of {run.chips} holds this model: it needs {step.bytes.total / 2**30:.1f} GiB "
            f"a device of {step.slice.memory_limit / 2**30:.1f}"
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
        lost=run.lost,
        num_chips=step.slice.chips,
        tokens_per_second_per_chip=step.tokens_per_second_per_chip,
        step_tokens=step.tokens,
        recompute=step.recompute,
        fits=step.fits,
    )


def hardware_lines(answer: HardwareAllocation) -> list[str]:
    """What the hardware adds to an allocation, a line a quantity."""
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
