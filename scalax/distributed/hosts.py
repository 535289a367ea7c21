"""The processes of a job, acting as one: what one decides all see, and one's end is all's.

On a lone process everything here costs nothing. Values go through jax's key-value store, never
through devices: it works before a mesh is there and beside any that is computing.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from scalax import errors
from scalax.distributed import cluster as clusters
from scalax.distributed.cluster import Cluster
from scalax.distributed.heartbeat import Heartbeat, catch_abort, end, nothing
from scalax.distributed.stopping import Stopped
from scalax.errors import ScalaxError

_LONG = 10**9
"""Milliseconds: as long as it takes; the heartbeat ends a wait for a process that is no more."""


@dataclass
class Hosts:
    """The processes of this job, one a host as a rule.

    Attributes:
        process: This process; process 0 writes tables and prints.
        count: How many there are.
    """

    process: int = 0
    count: int = 1
    _client: Any = None
    _preemption: Any = None
    _heartbeat: Heartbeat | None = None
    _turns: int = 0
    _steps: int = 0
    _stopping: bool = False
    _told: bool = False

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.process == 0

    def on_first(self, do: Callable[[], Any]) -> Any:
        """Does something on process 0 alone; its JSON result, or its error, is every process's.

        Raises:
            ScalaxError: What ``do`` raised, on every process.
        """
        if self.count == 1:
            return do()
        self._turns += 1
        key = f"scalax/turn/{self._turns}"
        if self.first:
            return self._tell(key, do)
        found = json.loads(self._client.blocking_key_value_get(key, _LONG))
        if "error" in found:
            raise _error(found["error"])
        return found["value"]

    def _tell(self, key: str, do: Callable[[], Any]) -> Any:
        try:
            value = do()
        except ScalaxError as error:
            told = [type(error).__name__, error.message, error.where, error.fix]
            self._client.key_value_set(key, json.dumps({"error": told}))
            raise _shared(error) from None
        self._client.key_value_set(key, json.dumps({"value": value}))
        return value

    def agree(self, value: Any) -> Any:
        """Process 0's value, on every process."""
        return self.on_first(lambda: value)

    def each(self, do: Callable[[], None]) -> None:
        """Does something on every process that comes out alike on all, an error too.

        Raises:
            ScalaxError: What ``do`` raised.
        """
        try:
            do()
        except ScalaxError as error:
            raise _shared(error) from None

    def any_wrong(self, wrong: str | None) -> str | None:
        """What is wrong on the first process on which something is: one answer for all."""
        if self.count == 1:
            return wrong
        self._turns += 1
        place = f"scalax/wrong/{self._turns}"
        self._client.key_value_set(f"{place}/{self.process:06d}", wrong or "")
        self.meet(place)
        found = [told for _, told in sorted(self._client.key_value_dir_get(f"{place}/"))]
        return next(filter(None, found), None)

    def meet(self, name: str) -> None:
        """Waits until every process is here."""
        if self.count > 1:
            self._client.wait_at_barrier(f"{name}/met", _LONG)

    def same(self, what: str, value: str) -> None:
        """Demands one value of something on every process.

        Raises:
            ScalaxError: On every process, naming those that differ from process 0.
        """
        if self.count == 1:
            return
        self._client.key_value_set(f"scalax/same/{what}/{self.process:06d}", value)
        self.meet(f"scalax/same/{what}")
        found = sorted(self._client.key_value_dir_get(f"scalax/same/{what}/"))
        other = {k: v for k, (_, v) in enumerate(found) if v != found[0][1]}
        if other:
            told = ", ".join(f"process {k} has {v}" for k, v in list(other.items())[:4])
            raise _shared(
                ScalaxError(
                    f"process 0 has {found[0][1]}, and {told}",
                    where=what,
                    fix="start the same command on every host: same settings, devices and folder",
                )
            )

    def sees(self, file: Path) -> None:
        """Demands that every process sees a file that process 0 wrote.

        Raises:
            ScalaxError: On every process: the folder is not one that all share.
        """
        self.same(f"the run folder {file.parent}", "it" if file.is_file() else "no such folder")

    def stop_asked(self, here: bool) -> bool:
        """Whether a host was told to stop; the same answer on every process at each call.

        Args:
            here: Whether this process was asked, other than by SIGTERM.
        """
        if self.count == 1:
            return here
        if here and not self._told:  # jax carries a SIGTERM to all and agrees on a step for it
            self._told = True
            os.kill(os.getpid(), signal.SIGTERM)
        self._steps += 1
        self._stopping |= bool(self._preemption.reached_sync_point(self._steps))
        return self._stopping

    def came_on(self) -> None:
        """Tells the others that this process has come on: all count the same over a whole job."""
        if self._heartbeat is not None:
            self._heartbeat.progress += 1

    @contextmanager
    def on_hang(self, do: Callable[[], object]) -> Iterator[None]:
        """While inside, what to do when another process says that the job stands still."""
        if self._heartbeat is not None:
            self._heartbeat.on_hang = do
        try:
            yield
        finally:
            if self._heartbeat is not None:
                self._heartbeat.on_hang = nothing

    def hang(self, why: str) -> NoReturn:
        """Ends the job on every process with exit 3, naming the one that holds it up."""
        if self._heartbeat is not None:
            self._heartbeat.hang(why)
        end(why)

    def condemn(self, why: str) -> None:
        """Ends the other processes, naming this one and why; a lone process has none."""
        if self._heartbeat is not None:
            self._heartbeat.condemn(why)


def _error(told: list[Any]) -> ScalaxError:
    kind, message, where, fix = told
    error: ScalaxError = getattr(errors, kind, ScalaxError)(message, where=where, fix=fix)
    return _shared(error)


def _shared(error: ScalaxError) -> ScalaxError:
    """Marks an error that every process raises: none is to blame for it."""
    error.shared = True
    return error


@contextmanager
def joined(cluster: Cluster | None) -> Iterator[Hosts]:
    """The processes of this job, met; on leaving, each waits for the others.

    An error on one process ends all: that one says what happened, the others who it was.

    Raises:
        ScalaxError: They cannot meet, or have unlike devices.
    """
    where = f"the coordinator {cluster.coordinator}" if cluster else "the coordinator"
    if cluster is not None and cluster.processes > 1:
        catch_abort(
            f"{where}: not every process came within 300 s. Fix: start the same command on every "
            "host, and check that each can reach the coordinator's port"
        )
    if not clusters.initialize(cluster):
        yield Hosts()
        return
    hosts = _meet()
    heartbeat = hosts._heartbeat
    assert heartbeat is not None
    try:
        yield hosts
    except Stopped:
        _part(hosts, heartbeat)
        raise
    except BaseException as error:
        _fail(hosts, heartbeat, error)
    _part(hosts, heartbeat)


def _meet() -> Hosts:
    import jax
    from jax._src import distributed

    # Public jax starts the store and its barriers, but lends them only to its own modules.
    client = distributed.global_state.client
    assert client is not None
    process, count = distributed.global_state.process_id, distributed.global_state.num_processes
    client.key_value_set(f"scalax/name/{process:06d}", f"process {process} on {platform.node()}")
    client.wait_at_barrier("scalax/named", _LONG)
    names = [name for _, name in sorted(client.key_value_dir_get("scalax/name/"))]
    heartbeat = Heartbeat(client, process, names)
    heartbeat.start()
    # Orbax asks the same object with its own step numbers, which would upset ours: it is ours.
    preemption = distributed.global_state.preemption_sync_manager
    distributed.global_state.preemption_sync_manager = None
    hosts = Hosts(process, count, client, preemption, heartbeat)
    local = jax.local_devices()
    try:
        hosts.same("jax", jax.__version__)
        hosts.same("the devices", f"{len(local)} {local[0].device_kind}")
    except ScalaxError as error:
        _fail(hosts, heartbeat, error)
    return hosts


def _part(hosts: Hosts, heartbeat: Heartbeat) -> None:
    """Leaves once all are done; jax then takes its own leave as the interpreter exits."""
    hosts.meet("scalax/done")
    heartbeat.stop()
    hosts._preemption.shutdown()


def _fail(hosts: Hosts, heartbeat: Heartbeat, error: BaseException) -> NoReturn:
    """Ends this process for an error, once the others can know of it."""
    if isinstance(error, ScalaxError) and error.shared:
        hosts.meet("scalax/failed")
        end(str(error), error.exit_code, linger=hosts.first)
    if isinstance(error, ScalaxError):
        heartbeat.condemn(str(error))
        end(str(error), error.exit_code, linger=hosts.first)
    if isinstance(error, KeyboardInterrupt):
        heartbeat.condemn("interrupted")
        end("interrupted", 130, linger=hosts.first)
    heartbeat.suspect()  # most likely it failed for the loss of another, and ends in here
    traceback.print_exception(error)
    heartbeat.condemn(f"{type(error).__name__}: {error}")
    end("a bug: see the traceback above", 1, linger=hosts.first)
