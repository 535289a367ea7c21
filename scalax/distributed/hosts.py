"""Coordinates the processes of a job: broadcasts decisions from process 0 and propagates failures.

With a single process every method returns at once. Values travel through JAX's key-value store and
never through devices, so that they work before a mesh exists and while devices compute.
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
from scalax.distributed.heartbeat import Heartbeat, catch_abort, do_nothing, end_process
from scalax.distributed.stopping import Stopped
from scalax.errors import ScalaxError

_NO_TIMEOUT = 10**9
"""Milliseconds. Waits never time out: the heartbeat ends a wait for a dead process."""


@dataclass
class Hosts:
    """The processes of this job, usually one on each host.

    Attributes:
        process: Index of this process. Process 0 writes the tables and prints.
        count: Number of processes.
    """

    process: int = 0
    count: int = 1
    _client: Any = None
    _preemption: Any = None
    _heartbeat: Heartbeat | None = None
    _exchanges: int = 0
    _stop_checks: int = 0
    _stopping: bool = False
    _stop_sent: bool = False

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.process == 0

    def on_first(self, function: Callable[[], Any]) -> Any:
        """Calls a function on process 0 only. Every process gets its JSON result or its error.

        Raises:
            ScalaxError: ``function`` raised it; raised on every process.
        """
        if self.count == 1:
            return function()
        self._exchanges += 1
        key = f"scalax/exchange/{self._exchanges}"
        if self.first:
            return self._call_and_publish(key, function)
        answer = json.loads(self._client.blocking_key_value_get(key, _NO_TIMEOUT))
        if "error" in answer:
            raise _parse_error(answer["error"])
        return answer["value"]

    def _call_and_publish(self, key: str, function: Callable[[], Any]) -> Any:
        try:
            value = function()
        except ScalaxError as error:
            fields = [type(error).__name__, error.message, error.where, error.fix]
            self._client.key_value_set(key, json.dumps({"error": fields}))
            raise _mark_shared(error) from None
        self._client.key_value_set(key, json.dumps({"value": value}))
        return value

    def broadcast(self, value: Any) -> Any:
        """Returns process 0's value on every process."""
        return self.on_first(lambda: value)

    def on_every(self, function: Callable[[], None]) -> None:
        """Calls a function that has the same outcome on every process, whether it raises or not.

        Raises:
            ScalaxError: ``function`` raised it.
        """
        try:
            function()
        except ScalaxError as error:
            raise _mark_shared(error) from None

    def first_problem(self, problem: str | None) -> str | None:
        """Returns, on every process, the problem of the first process that has one."""
        if self.count == 1:
            return problem
        self._exchanges += 1
        prefix = f"scalax/problem/{self._exchanges}"
        self._client.key_value_set(f"{prefix}/{self.process:06d}", problem or "")
        self.barrier(prefix)
        problems = [text for _, text in sorted(self._client.key_value_dir_get(f"{prefix}/"))]
        return next(filter(None, problems), None)

    def barrier(self, name: str) -> None:
        """Waits until every process has reached this barrier."""
        if self.count > 1:
            self._client.wait_at_barrier(f"{name}/barrier", _NO_TIMEOUT)

    def require_equal(self, name: str, value: str) -> None:
        """Checks that every process has the same value.

        Raises:
            ScalaxError: Some differ from process 0; raised on every process.
        """
        if self.count == 1:
            return
        prefix = f"scalax/equal/{name}"
        self._client.key_value_set(f"{prefix}/{self.process:06d}", value)
        self.barrier(prefix)
        values = [text for _, text in sorted(self._client.key_value_dir_get(f"{prefix}/"))]
        different = [f"process {k} has {v}" for k, v in enumerate(values) if v != values[0]]
        if different:
            raise _mark_shared(
                ScalaxError(
                    f"process 0 has {values[0]}, and {', '.join(different[:4])}",
                    where=name,
                    fix="start the same command on every host: same settings, devices and folder",
                )
            )

    def require_shared_file(self, file: Path) -> None:
        """Checks that every process sees a file that process 0 wrote.

        Raises:
            ScalaxError: The folder is not shared; raised on every process.
        """
        seen = "the folder" if file.is_file() else "no such folder"
        self.require_equal(f"the run folder {file.parent}", seen)

    def stop_requested(self, here: bool) -> bool:
        """Returns whether any process received a stop request; all processes get the same answer.

        Args:
            here: Whether this process received a stop request other than SIGTERM.
        """
        if self.count == 1:
            return here
        if here and not self._stop_sent:  # JAX forwards a SIGTERM and agrees on a step for it
            self._stop_sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        self._stop_checks += 1
        self._stopping |= bool(self._preemption.reached_sync_point(self._stop_checks))
        return self._stopping

    def report_progress(self) -> None:
        """Counts a sign of progress. All processes count the same number over a job."""
        if self._heartbeat is not None:
            self._heartbeat.progress += 1

    @contextmanager
    def on_hang(self, function: Callable[[], object]) -> Iterator[None]:
        """Inside this context, calls a function when another process reports a hang."""
        if self._heartbeat is not None:
            self._heartbeat.on_hang = function
        try:
            yield
        finally:
            if self._heartbeat is not None:
                self._heartbeat.on_hang = do_nothing

    def report_hang(self, reason: str) -> NoReturn:
        """Ends the job on every process with exit code 3, and names the process that is behind."""
        if self._heartbeat is not None:
            self._heartbeat.report_hang(reason)
        end_process(reason)


def _parse_error(fields: list[Any]) -> ScalaxError:
    kind, message, where, fix = fields
    error: ScalaxError = getattr(errors, kind, ScalaxError)(message, where=where, fix=fix)
    return _mark_shared(error)


def _mark_shared(error: ScalaxError) -> ScalaxError:
    """Marks an error that every process raises, so that no process is reported as its cause."""
    error.shared = True
    return error


@contextmanager
def join_hosts(cluster: Cluster | None) -> Iterator[Hosts]:
    """Connects the processes of this job. On exit each process waits for the others.

    An error in one process ends all of them: it prints the error, and the others name it.

    Raises:
        ScalaxError: The processes cannot connect, or have different devices.
    """
    where = f"the coordinator {cluster.coordinator}" if cluster else "the coordinator"
    if cluster is not None and cluster.processes > 1:
        catch_abort(
            f"{where}: not every process connected within 300 s. Fix: start the same command on "
            "every host, and check that each can reach the coordinator's port"
        )
    if not clusters.initialize(cluster):
        yield Hosts()
        return
    hosts = _connect()
    heartbeat = hosts._heartbeat
    assert heartbeat is not None
    try:
        yield hosts
    except Stopped:
        _leave(hosts, heartbeat)
        raise
    except BaseException as error:
        _fail(hosts, heartbeat, error)
    _leave(hosts, heartbeat)


def _connect() -> Hosts:
    import jax
    from jax._src import distributed

    # The public API starts the key-value store and its barriers but does not expose them.
    client = distributed.global_state.client
    assert client is not None
    process, count = distributed.global_state.process_id, distributed.global_state.num_processes
    client.key_value_set(f"scalax/name/{process:06d}", f"process {process} on {platform.node()}")
    client.wait_at_barrier("scalax/named", _NO_TIMEOUT)
    names = [name for _, name in sorted(client.key_value_dir_get("scalax/name/"))]
    heartbeat = Heartbeat(client, process, names)
    heartbeat.start()
    # Orbax would query the same object with step numbers of its own, so it must not see it.
    preemption = distributed.global_state.preemption_sync_manager
    distributed.global_state.preemption_sync_manager = None
    hosts = Hosts(process, count, client, preemption, heartbeat)
    local = jax.local_devices()
    try:
        hosts.require_equal("jax", jax.__version__)
        hosts.require_equal("the devices", f"{len(local)} {local[0].device_kind}")
    except ScalaxError as error:
        _fail(hosts, heartbeat, error)
    return hosts


def _leave(hosts: Hosts, heartbeat: Heartbeat) -> None:
    """Leaves the job once all processes are done; JAX disconnects when the interpreter exits."""
    hosts.barrier("scalax/done")
    heartbeat.stop()
    hosts._preemption.shutdown()


def _fail(hosts: Hosts, heartbeat: Heartbeat, error: BaseException) -> NoReturn:
    """Ends this process because of an error, after the others can read about it."""
    if isinstance(error, ScalaxError) and error.shared:
        hosts.barrier("scalax/failed")
        end_process(str(error), error.exit_code, linger=hosts.first)
    if isinstance(error, ScalaxError):
        heartbeat.announce_failure(str(error))
        end_process(str(error), error.exit_code, linger=hosts.first)
    if isinstance(error, KeyboardInterrupt):
        heartbeat.announce_failure("interrupted")
        end_process("interrupted", 130, linger=hosts.first)
    heartbeat.wait_for_failure()  # usually the loss of another process caused the error
    traceback.print_exception(error)
    heartbeat.announce_failure(f"{type(error).__name__}: {error}")
    end_process("a bug: see the traceback above", 1, linger=hosts.first)
