"""Which processes make up this job, and how this one joins them; no training, no files.

A lone machine joins nothing. Several processes join by the three flags of `scalax run`, or as
jax itself finds them on Cloud TPU, GKE, SLURM and Open MPI.
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
    """Where this process stands among those of a job, as a person said it.

    Attributes:
        coordinator: Address and port of process 0, such as ``10.0.0.1:1234``.
        process: This process, counted from 0.
        processes: How many there are.
    """

    coordinator: str
    process: int
    processes: int


def cluster_of(
    coordinator: str | None, process: int | None, processes: int | None
) -> Cluster | None:
    """What the three flags say together; None where none is given.

    Raises:
        ScalaxError: Some are missing, or one cannot be.

    Example:
        >>> cluster_of("10.0.0.1:1234", 1, 2)
        Cluster(coordinator='10.0.0.1:1234', process=1, processes=2)
        >>> cluster_of(None, None, None)
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
            fix="write the address of process 0 and a free port there, such as 10.0.0.1:1234",
        )
    if processes < 1 or not 0 <= process < processes:
        raise ScalaxError(
            f"no process {process} among {processes}",
            where="--process-id",
            fix=f"count from 0 to {max(processes, 1) - 1}",
        )
    return Cluster(coordinator, process, processes)


def several_expected() -> bool:
    """Whether the environment speaks of a job of several processes, found without jax."""
    there = os.environ
    slurm = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    if all(name in there for name in slurm):
        return int(there.get("SLURM_NTASKS", "1")) > 1
    if "OMPI_MCA_orte_hnp_uri" in there:
        return int(there.get("OMPI_COMM_WORLD_SIZE", "1")) > 1
    if "KUBERNETES_SERVICE_HOST" in there and "JOB_COMPLETION_INDEX" in there and not has_tpu():
        return True
    return has_tpu() and _tpu_cluster()


def _tpu_cluster() -> bool:
    """On GKE the environment names the workers; on Compute Engine only the metadata does."""
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
    """Starts `jax.distributed` where this job has several processes.

    Args:
        cluster: What the flags said; None to go by the environment.

    Returns:
        Whether there are several. Must come before anything that starts a jax backend.

    Raises:
        ScalaxError: jax cannot make out the cluster that the environment speaks of.
    """
    if cluster is None and not several_expected():
        return False
    if cluster is not None and cluster.processes == 1:
        return False
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    told: dict[str, Any] = {}
    if cluster is not None:
        told = {
            "coordinator_address": cluster.coordinator,
            "num_processes": cluster.processes,
            "process_id": cluster.process,
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(**told)
    except (ValueError, RuntimeError) as error:
        raise ScalaxError(
            f"jax cannot join the other processes: {str(error).splitlines()[0]}",
            where="jax.distributed",
            fix=f"give {_FLAGS}",
        ) from error
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        _keep_output()
    return jax.process_count() > 1


def _keep_output() -> None:
    """Gives Python a standard output of its own: gloo greets on file descriptor 1, amid JSON."""
    sys.stdout.flush()
    try:
        if sys.stdout.fileno() != 1:
            return
    except OSError:  # a notebook's has none
        return
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
