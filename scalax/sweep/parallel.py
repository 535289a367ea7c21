"""Trains the units of a schedule on the devices of this process, as many at once as fit.

A unit that uses more than half of the devices trains by itself, in the calling thread; smaller ones
train side by side, each in a thread and on devices of its own, so that none stands idle. Where
other machines take units of the same sweep, a claim decides who trains what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax

from scalax.distributed.stopping import Stopped
from scalax.sweep.execute import Executor
from scalax.sweep.execution_plan import Unit
from scalax.train.measure import peak

SECONDS = 1.0
"""Between looks at what other machines have done."""

Claim = Callable[[Unit], AbstractContextManager[Any] | None]


class Devices:
    """Devices lent to units, in blocks of neighbours.

    Args:
        devices: Those of this process, in the order in which neighbours are linked.

    Example:
        >>> devices = Devices(["a", "b", "c", "d"])
        >>> devices.lend(1), devices.lend(2), devices.lend(2)
        (['a'], ['c', 'd'], None)
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        self._all, self._free = list(devices), set(range(len(devices)))

    def lend(self, count: int) -> list[Any] | None:
        """The first free block that begins at a multiple of its length; None where none is."""
        for first in range(0, len(self._all) - count + 1, count):
            block = range(first, first + count)
            if self._free.issuperset(block):
                self._free.difference_update(block)
                return self._all[first : first + count]
        return None

    def take_back(self, block: Sequence[Any]) -> None:
        """Makes a block free again."""
        self._free.update(self._all.index(device) for device in block)


def train_all(
    executor: Executor, units: Sequence[Unit], claim: Claim = lambda unit: nullcontext()
) -> None:
    """Trains all units, here or, where others claim them, elsewhere.

    Args:
        executor: Trains one.
        units: In any order.
        claim: Claims a unit until the context it gives is left; None where another has it.

    Raises:
        Stopped: Asked to stop; all is saved.
        ScalaxError: What one of the units raised, once the others have saved and stopped.
    """
    _Session(executor, units, claim).train()


class _Session:
    def __init__(self, executor: Executor, units: Sequence[Unit], claim: Claim) -> None:
        self._executor, self._claim = executor, claim
        there = jax.local_devices() if executor.hosts.count == 1 else []
        self._devices, self._half = Devices(there), len(there) // 2
        self._widths = {unit.name: self._width(unit) for unit in units}
        # Those that need most devices first, and the longest of them: the last to end are short.
        self._waiting = sorted(units, key=lambda u: (-self._widths[u.name], -u.flops))
        self._running: dict[Future[None], list[Any]] = {}
        self._error: BaseException | None = None
        small = sum(width <= self._half for width in self._widths.values())
        self._pool = ThreadPoolExecutor(max(1, min(small, len(there))), "unit")

    def train(self) -> None:
        """Starts what fits, waits, and so on."""
        try:
            while self._error is None and (self._waiting or self._running):
                begun = [self._begin(unit) for unit in list(self._waiting)]
                if self._running:
                    self._collect(SECONDS)
                elif self._waiting and not any(begun):
                    self._look_again()
        except BaseException as error:
            self._fail(error)
        while self._running:
            self._collect(None)
        self._pool.shutdown()
        if self._error is not None:
            raise self._error

    def _width(self, unit: Unit) -> int:
        """Devices that a unit trains on; more than there are where several processes share it."""
        if self._executor.hosts.count > 1:
            return 1
        program = self._executor.program(unit.spec, unit.members)
        peak(jax.local_devices()[0].device_kind, program.mesh.size, unit.spec.precision)
        return program.mesh.size

    def _begin(self, unit: Unit) -> bool:
        """Trains a unit, or begins to; False where it has to wait."""
        if self._error is not None:
            return False
        if self._executor.finished(unit):
            self._waiting.remove(unit)
            return True
        alone = self._executor.hosts.count > 1
        block = None if alone else self._devices.lend(self._widths[unit.name])
        if block is None and not alone:
            return False
        claimed = self._claim(unit)
        if claimed is None:
            if block is not None:
                self._devices.take_back(block)
            return False
        self._waiting.remove(unit)
        if block is not None and len(block) <= self._half:
            self._running[self._pool.submit(self._train, unit, block, claimed)] = block
            return True
        self._train(unit, block, claimed)
        if block is not None:
            self._devices.take_back(block)
        return True

    def _train(self, unit: Unit, block: list[Any] | None, claimed: Any) -> None:
        with claimed:
            self._executor.execute(unit, block)

    def _collect(self, seconds: float | None) -> None:
        """Takes back the devices of units that ended."""
        for ended in wait(self._running, seconds, FIRST_COMPLETED).done:
            self._devices.take_back(self._running.pop(ended))
            error = ended.exception()
            if error is not None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Has the other units save and stop; of several errors, one that is no stop is told."""
        self._executor.halt.set()
        if self._error is None or isinstance(self._error, Stopped):
            self._error = error

    def _look_again(self) -> None:
        if self._executor.hosts.stop_asked(self._executor.stop()):
            raise Stopped
        time.sleep(SECONDS)
