"""Trains the groups of an execution plan on this process's devices, as many at once as fit.

A group that uses more than half of the devices trains by itself, in the calling thread. Smaller
groups train at the same time, each in a thread and on devices of its own, so that no device is
idle. If several jobs share a sweep, a claim decides which job trains a group.
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
from scalax.sweep.plan import Group
from scalax.sweep.programs import choose_mesh
from scalax.train.performance import peak_flops_per_second

SECONDS = 1.0
"""Seconds between checks for results of other jobs."""

Claim = Callable[[Group], AbstractContextManager[Any] | None]


class Devices:
    """Devices that are lent in blocks of neighbours.

    Args:
        devices: Devices of this process; neighbours in this order are linked.

    Example:
        >>> devices = Devices(["a", "b", "c", "d"])
        >>> devices.lend(1), devices.lend(2), devices.lend(2)
        (['a'], ['c', 'd'], None)
    """

    def __init__(self, devices: Sequence[Any]) -> None:
        self._all, self._free = list(devices), set(range(len(devices)))

    def lend(self, count: int) -> list[Any] | None:
        """Returns the first free block that begins at a multiple of its length, or None."""
        for first in range(0, len(self._all) - count + 1, count):
            block = range(first, first + count)
            if self._free.issuperset(block):
                self._free.difference_update(block)
                return self._all[first : first + count]
        return None

    def take_back(self, block: Sequence[Any]) -> None:
        """Marks a block as free."""
        self._free.update(self._all.index(device) for device in block)

    @property
    def all_lent(self) -> bool:
        """Whether no device is free."""
        return not self._free


def train_groups(
    executor: Executor, groups: Sequence[Group], claim: Claim = lambda group: nullcontext()
) -> None:
    """Trains all groups here, or waits for the jobs that claimed them.

    Args:
        executor: Executor that trains one group.
        groups: The groups, in any order.
        claim: Claims a group until its context exits; returns None if another job has it.

    Raises:
        Stopped: A stop was requested; everything is saved.
        ScalaxError: A group failed; raised after the others have saved and stopped.
    """
    executor.programs.reserve(groups)
    _Scheduler(executor, groups, claim).train()


class _Scheduler:
    def __init__(self, executor: Executor, groups: Sequence[Group], claim: Claim) -> None:
        self._executor, self._claim = executor, claim
        self._one_process = executor.context.hosts.count == 1
        local = jax.local_devices() if self._one_process else []
        self._devices, self._half = Devices(local), len(local) // 2
        self._widths = {group.name: self._width(group) for group in groups}
        # Groups on many devices go first, then the longest, so that the last to end are short.
        self._waiting = sorted(groups, key=lambda g: (-self._widths[g.name], -g.flops))
        self._running: dict[Future[None], list[Any]] = {}
        self._error: BaseException | None = None
        small = sum(width <= self._half for width in self._widths.values())
        self._pool = ThreadPoolExecutor(max(1, min(small, len(local))), "group")

    def train(self) -> None:
        """Starts the groups that fit, waits for one to end, and repeats."""
        try:
            while self._error is None and (self._waiting or self._running):
                progress = self._begin_all()
                if self._running:
                    self._collect(SECONDS)
                elif self._waiting and not progress:
                    self._wait_for_others()
        except BaseException as error:
            self._fail(error)
        while self._running:
            self._collect(None)
        self._pool.shutdown()
        if self._error is not None:
            raise self._error

    def _width(self, group: Group) -> int:
        """Returns the number of devices that a group trains on; 1 where all processes share it."""
        if not self._one_process:
            return 1
        size: int = choose_mesh(group.spec, group.ensemble).size
        peak_flops_per_second(jax.local_devices()[0].device_kind, size, group.spec.precision)
        return size

    def _begin_all(self) -> bool:
        """Begins the groups that fit; returns whether any began or was already finished."""
        waiting, self._waiting = self._waiting, []
        progress = False
        for k, group in enumerate(waiting):
            if self._error is not None or (self._one_process and self._devices.all_lent):
                self._waiting += waiting[k:]
                break
            if self._begin(group):
                progress = True
            else:
                self._waiting.append(group)
        return progress

    def _begin(self, group: Group) -> bool:
        """Trains a group, or starts a thread that does; returns False if it has to wait."""
        block = self._devices.lend(self._widths[group.name]) if self._one_process else []
        if block is None:
            return False
        if self._executor.finished(group):
            self._executor.programs.release(group)
            self._devices.take_back(block)
            return True
        claimed = self._claim(group)
        if claimed is None:
            self._devices.take_back(block)
            return False
        if self._one_process and len(block) <= self._half:
            self._running[self._pool.submit(self._train, group, block, claimed)] = block
            return True
        self._train(group, block, claimed)
        self._devices.take_back(block)
        return True

    def _train(self, group: Group, block: list[Any], claimed: AbstractContextManager[Any]) -> None:
        with claimed:
            self._executor.execute(group, block or None)  # several processes use all devices
        self._executor.programs.release(group)

    def _collect(self, seconds: float | None) -> None:
        """Waits for a group to end, and takes its devices back."""
        for ended in wait(self._running, seconds, FIRST_COMPLETED).done:
            self._devices.take_back(self._running.pop(ended))
            error = ended.exception()
            if error is not None:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Makes the other groups save and stop; an error takes precedence over a `Stopped`."""
        self._executor.context.failed.set()
        if self._error is None or isinstance(self._error, Stopped):
            self._error = error

    def _wait_for_others(self) -> None:
        context = self._executor.context
        if context.hosts.stop_requested(context.stop()):
            raise Stopped
        time.sleep(SECONDS)
