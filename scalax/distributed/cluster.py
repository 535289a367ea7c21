"""Finds the processes of this job and starts `jax.distributed`. Reads and writes no files.

A single process connects to nothing. Several processes connect by the three options of `scalax
run`, or by what JAX detects on Cloud TPU, GKE, SLURM and Open MPI.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalax.devices import has_tpu
from scalax.errors import ScalaxError

_FLAGS = "--coordinator, --process-id and --num-processes"


@dataclass(frozen=True)
class Cluster:
    """The position of this process in a job, as given by the user.

    Attributes:
        coordinator: Address and port of process 0, such as ``10.0.0.1:1234``.
        process: Index of this process, from 0.
        processes: Number of processes.
    """

    coordinator: str
    process: int
    processes: int


def parse_cluster(
    coordinator: str | None, process: int | None, processes: int | None
) -> Cluster | None:
    """Parses the three options; returns None if none of them is given.

    Raises:
        ScalaxError: Some are missing or invalid.

    Example:
        >>> parse_cluster("10.0.0.1:1234", 1, 2)
        Cluster(coordinator='10.0.0.1:1234', process=1, processes=2)
        >>> parse_cluster(None, None, None)
    """
    given = {"--coordinator": coordinator, "--process-id": process, "--num-processes": processes}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if coordinator is None or process is None or processes is None:
        raise ScalaxError(
            f"{' and '.join(missing)} missing",
            where=_FLAGS,
            fix="give all three on every host, or none",
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ScalaxError(
            f"expected HOST:PORT, got {coordinator!r}",
            where="--coordinator",
            fix="write the address of process 0 and a free port of its host, such as 10.0.0.1:1234",
        )
    if processes < 1 or not 0 <= process < processes:
        raise ScalaxError(
            f"expected an index below the {processes} processes, got {process}",
            where="--process-id",
            fix=f"write a number from 0 to {max(processes, 1) - 1}",
        )
    return Cluster(coordinator, process, processes)


def is_multi_process() -> bool:
    """Returns whether the environment describes a job of several processes. Imports no jax."""
    environment = os.environ
    slurm = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    if all(name in environment for name in slurm):
        return int(environment.get("SLURM_NTASKS", "1")) > 1
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    if (
        "KUBERNETES_SERVICE_HOST" in environment
        and "JOB_COMPLETION_INDEX" in environment
        and not has_tpu()
    ):
        return True
    return has_tpu() and _is_tpu_cluster()


def _is_tpu_cluster() -> bool:
    """Returns whether a TPU slice has several hosts.

    GKE names the workers in the environment; Compute Engine only in its metadata, which JAX reads.
    """
    workers = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get("TPU_WORKER_HOSTNAMES")
    if int(os.environ.get("MEGASCALE_NUM_SLICES", "1")) > 1:
        return True
    if workers is not None:
        return len(workers.split(",")) > 1
    compute_engine = Path("/sys/class/dmi/id/product_name")
    return (
        "TPU_SKIP_MDS_QUERY" not in os.environ
        and compute_engine.is_file()
        and "Google" in compute_engine.read_text(encoding="utf-8")
    )


def initialize(cluster: Cluster | None) -> bool:
    """Starts `jax.distributed` if this job has several processes.

    Call it before anything that starts a JAX backend.

    Args:
        cluster: The options of the user; None to detect the processes from the environment.

    Returns:
        Whether the job has several processes.

    Raises:
        ScalaxError: JAX cannot connect to the processes that the environment describes.
    """
    if cluster is None and not is_multi_process():
        return False
    if cluster is not None and cluster.processes == 1:
        return False
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options: dict[str, Any] = {}
    if cluster is not None:
        options = {
            "coordinator_address": cluster.coordinator,
            "num_processes": cluster.processes,
            "process_id": cluster.process,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(**options)
    except (ValueError, RuntimeError) as error:
        raise ScalaxError(
            f"JAX cannot connect to the other processes: {str(error).splitlines()[0]}",
            where="jax.distributed",
            fix=f"give {_FLAGS}",
        ) from error
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        _redirect_gloo_output()
    return jax.process_count() > 1


def _redirect_gloo_output() -> None:
    """Moves Python's standard output off file descriptor 1, where gloo prints a greeting."""
    sys.stdout.flush()
    try:
        if sys.stdout.fileno() != 1:
            return
    except OSError:  # the stream of a notebook has no descriptor
        return
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, buffering=1)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
